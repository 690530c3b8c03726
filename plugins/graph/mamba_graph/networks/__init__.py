"""The networks between encoder and head, one file each, and their configs."""
