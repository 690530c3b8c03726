"""``ts-impute``: what is missing in a series, from both sides of the gap."""
