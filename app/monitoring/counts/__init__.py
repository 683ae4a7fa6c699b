"""Shared. What processes count: each in its files, added up for a scrape, kept when one ends."""
