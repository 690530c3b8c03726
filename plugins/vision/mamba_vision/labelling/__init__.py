"""What the tasks that name a class share: images, clips and clouds of points."""
