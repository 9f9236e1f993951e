"""Sections of the page that have a file of their own."""
