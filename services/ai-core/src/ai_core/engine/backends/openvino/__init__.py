"""OpenVINO GenAI behind the backend port: its scheduler and its cache, our choice of every token."""
