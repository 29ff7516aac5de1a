"""The screen: a lab's terminals and its mount table, live in a notebook's page."""
