"""Readable item titles: the topic's noun, an adjective and a material, so that a ranked list can be judged by eye."""

from __future__ import annotations

import numpy as np

TOPICS: dict[str, tuple[str, ...]] = {
    "kitchen": ("skillet", "kettle", "bread knife", "mixing bowl", "spice rack", "rice cooker", "teapot", "grater"),
    "garden": ("watering can", "trowel", "plant pot", "pruning shears", "bird feeder", "seed tray", "rake", "hose"),
    "camping": (
        "tent",
        "sleeping bag",
        "headlamp",
        "camp stove",
        "hammock",
        "water filter",
        "dry bag",
        "folding chair",
    ),
    "cycling": (
        "bike helmet",
        "saddle",
        "pannier",
        "bicycle pump",
        "rear light",
        "bottle cage",
        "cycling gloves",
        "lock",
    ),
    "music": ("ukulele", "guitar strings", "metronome", "drumsticks", "music stand", "melodica", "tuner", "capo"),
    "office": ("desk lamp", "notebook", "fountain pen", "paper tray", "stapler", "desk mat", "planner", "whiteboard"),
    "toys": ("wooden train", "puzzle", "kite", "building blocks", "spinning top", "marble run", "yo-yo", "plush bear"),
    "shoes": ("running shoes", "sandals", "rain boots", "slippers", "loafers", "hiking boots", "sneakers", "clogs"),
    "beauty": ("face cream", "hair brush", "lip balm", "shampoo bar", "hand soap", "perfume", "nail set", "body oil"),
    "pets": ("dog leash", "cat tree", "food bowl", "aquarium", "pet bed", "chew toy", "bird cage", "scratching post"),
    "audio": ("headphones", "speaker", "record player", "microphone", "earbuds", "radio", "sound bar", "mixer"),
    "textiles": ("wool blanket", "cushion", "bath towel", "curtain", "table cloth", "duvet cover", "rug", "apron"),
}
_ADJECTIVES = (
    *("classic", "compact", "everyday", "folding", "heavy-duty", "lightweight", "little", "modern", "plain"),
    *("pocket", "quiet", "sturdy", "traveller's", "vintage", "waterproof"),
)
STYLES = ("red", "navy", "olive", "sand", "graphite", "white", "copper", "teal")


def item_titles(rng: np.random.Generator, topics: np.ndarray, styles: np.ndarray) -> list[str]:
    """Titles of items.

    Args:
        rng: source of chance.
        topics: int [items], positions in `TOPICS`.
        styles: int [items], positions in `STYLES`.

    Returns:
        [items], such as "Sturdy olive tent".
    """
    nouns = list(TOPICS.values())
    titles = []
    for topic, style in zip(topics.tolist(), styles.tolist(), strict=True):
        adjective, noun = rng.choice(_ADJECTIVES), rng.choice(nouns[topic])
        titles.append(f"{adjective} {STYLES[style]} {noun}".capitalize())
    return titles
