"""Small pictures of objects with a silhouette and a surface, drawn from a seed.

The drawing knows nothing of data sets: `compose.arrange` says where objects lie, `compose.label_map` and
`compose.paint` make the label map and the picture of that arrangement.
"""
