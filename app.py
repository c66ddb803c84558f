"""The Space: `python app.py` opens the page.

NCSN_MODEL names another model, a folder or a Hub id, and NCSN_MODELS more of them, with commas between, for visitors to
choose among; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT another address.
"""

import os
from pathlib import Path

# Gradio reads this when it is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from ncsn_pipeline.space import build_page, launch_options

MODEL = os.environ.get("NCSN_MODEL") or str(Path(__file__).resolve().parent / "pretrained" / "mnist")

OTHERS = [name.strip() for name in os.environ.get("NCSN_MODELS", "").split(",") if name.strip()]

demo = build_page(MODEL, *OTHERS)

if __name__ == "__main__":
    demo.launch(**launch_options())
