"""Cards of well-known environments, one YAML file each (`envs/card_files.py` reads them), and toolkits beside them."""
