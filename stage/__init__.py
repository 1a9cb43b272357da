"""What every stage shares: artifact directories, flags, user errors, retries."""
