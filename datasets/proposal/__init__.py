"""A dataset block proposed for a folder of somebody's images and masks."""
