"""A radiograph's anatomy as attenuation: shape parameters, frontal and lateral builders, the canvas."""
