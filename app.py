"""The Space: `python app.py` opens the page.

It shows the shipped models.  NCSN_MODEL names another in their place, a folder or a Hub id, and NCSN_MODELS more of
them, with commas between, for visitors to choose among; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT another address.
"""

import os

# Gradio reads this when it is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from ncsn_pipeline.space import build_page, models_to_show, serve

OTHERS = [name.strip() for name in os.environ.get("NCSN_MODELS", "").split(",") if name.strip()]

demo = build_page(*models_to_show(os.environ.get("NCSN_MODEL"), OTHERS))

if __name__ == "__main__":
    serve(demo)
