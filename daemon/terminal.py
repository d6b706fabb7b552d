"""stub"""


async def watch(*a):
    return None
