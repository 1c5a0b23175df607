"""x"""
def build_all(out, console): pass
