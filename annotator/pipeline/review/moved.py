"""Label Studio at another address: the pictures that people uploaded there are found at the new one."""

from __future__ import annotations

from sqlalchemy import select, update

from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import ImageRow, MetaRow
from annotator.store.upsert import upsert

ADDRESS = "review:address"
"""Key of the ``meta`` row that holds Label Studio's address."""


def follow_address(store: Store, settings: Settings) -> int:
    """Have images that Label Studio serves be read from where it is now; how many had to be moved.

    Their bytes are compared with their sha256 whenever they are read, so another Label Studio cannot foist others.
    """
    now = (settings.label_studio_url or "").rstrip("/") + "/"
    with store.write() as session:
        before = session.scalar(select(MetaRow.value).where(MetaRow.key == ADDRESS))
        if before == now:
            return 0
        upsert(session, MetaRow, [{"key": ADDRESS, "value": now}], keys=("key",))
        if before is None:
            return 0
        served = select(ImageRow.id, ImageRow.uri).where(ImageRow.uri.startswith(before, autoescape=True))
        moved = [{"id": key, "uri": now + uri[len(before) :]} for key, uri in session.execute(served)]
        if moved:
            session.execute(update(ImageRow), moved)
    return len(moved)
