"""Methods for clients that take part unevenly: remembered updates and participation intervals."""
