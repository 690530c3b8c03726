"""``ts-classify``: which class a whole series is of."""
