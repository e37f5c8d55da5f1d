"""``python -m clickflow`` is the console command."""

from clickflow.cli.main import main

main()
