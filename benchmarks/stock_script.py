"""Stock code for the cold start: the script of diffusers' documentation for one picture with a LoRA.

python -m benchmarks.stock_script BASE LORA.safetensors PICTURE.png --device cuda --dtype float16 --steps 50
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline


def main() -> None:
    """Load the models, paint one picture and save it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stock_script", description=__doc__.partition("\n")[0])
    parser.add_argument("base", help="folder of the pipeline")
    parser.add_argument("lora", type=Path, help="a file in diffusers' format")
    parser.add_argument("picture", type=Path, help="where the picture goes")
    parser.add_argument("--device", required=True)
    parser.add_argument("--dtype", required=True, choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--guidance", type=float, required=True)
    given = parser.parse_args()
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        given.base, dtype=getattr(torch, given.dtype), local_files_only=True, add_watermarker=False
    ).to(given.device)
    pipeline.load_lora_weights(str(given.lora.parent), weight_name=given.lora.name)
    pipeline.fuse_lora()
    told = {"num_inference_steps": given.steps, "guidance_scale": given.guidance}
    pipeline("a man rides a horse in the steppe", height=given.size, width=given.size, **told).images[0].save(
        given.picture
    )


if __name__ == "__main__":
    main()
