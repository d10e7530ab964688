"""The AI core of Code du Travail Neo: it hosts language models behind a REST API."""
