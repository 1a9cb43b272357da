"""Color pictures of parts of ten photographs."""
