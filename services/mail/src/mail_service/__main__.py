"""``python -m mail_service``."""

from mail_service.cli import main

if __name__ == "__main__":
    main()
