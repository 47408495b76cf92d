"""Several endpoints as one store: requests are spread over them, and go elsewhere when one fails."""
