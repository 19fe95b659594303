"""Who asks: API keys of programs, and people who sign in. How they are made, recognised and ended."""
