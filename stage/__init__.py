"""What all stages share: artifact directories, flags, errors for users, retries."""
