"""Wanted runs: their list, their work folders, their result files, and the tables and curves made from the results."""
