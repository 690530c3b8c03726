"""What is kept of a user: a state of constant size, a store of states, a log of events."""
