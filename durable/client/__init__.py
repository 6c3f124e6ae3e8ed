"""The client, and the handles that it gives: see `durable.client.client`."""

from durable.client.client import DEFAULT_STORE, Client
from durable.client.handle import Handle
from durable.client.transactions import TransactionClient
from durable.client.views import InstancePage, InstanceRow
from durable.client.walk import Walk
from durable.client.whereabouts import CoroutinePlace, Frame, Where

__all__ = [
    "DEFAULT_STORE",
    "Client",
    "CoroutinePlace",
    "Frame",
    "Handle",
    "InstancePage",
    "InstanceRow",
    "TransactionClient",
    "Walk",
    "Where",
]
