"""Methods of installed packages: what a method is, and how entry points become methods."""
