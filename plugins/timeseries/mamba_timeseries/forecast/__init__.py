"""``ts-forecast``: protocol, baselines, networks, and the interface on data frames."""
