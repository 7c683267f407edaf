"""Reading and checking folders of images and masks."""
