"""``python models/neo-demo/make.py [step]``: the recipe, from any folder."""

from recipe.__main__ import main

if __name__ == "__main__":
    main()
