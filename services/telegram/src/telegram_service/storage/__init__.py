"""What is kept: people and their settings, conversations, and the journal of messages. Texts are sealed."""
