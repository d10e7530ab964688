"""Other people's programs that know spam and viruses, behind one port."""
