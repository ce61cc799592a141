"""The Celery application: three queues on Redis, a task that is one batch (and its twin that may take longer), and the
beat's tick.

Messages are hints. A task carries the number of a batch and nothing else; whether the batch is still to be done is
asked of the ledger, so a message that comes twice, late or not at all changes nothing.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from annotator.errors import ConfigurationError
from annotator.jobs.jobs import IO, LONG, QUEUES
from annotator.settings import Settings

BATCH, TRAINING, TICK = "annotator.batch", "annotator.training", "annotator.tick"
TICK_SECONDS = 20.0
EXCHANGE = Exchange("annotator", "direct")


def make_app(settings: Settings) -> Celery:
    """The application of one project.

    Raises:
        ConfigurationError: no broker is set, or it is not Redis.
    """
    if settings.broker_url is None:
        raise ConfigurationError("broker_url is not set; set ANNOTATOR_BROKER_URL=redis://host:6379/0")
    url = settings.broker_url.get_secret_value()
    if not url.startswith(("redis://", "rediss://", "redis+socket://", "sentinel://")):
        raise ConfigurationError("broker_url must begin with redis://, rediss://, redis+socket:// or sentinel://")
    app = Celery("annotator", broker=url, set_as_current=False)
    app.conf.update(_configuration(settings))
    return app


def send_batch(app: Celery, batch: int, queue: str, step: str) -> None:
    """Tell the workers of a queue of a batch of that step.

    Raises:
        kombu.exceptions.OperationalError: the broker does not answer.
    """
    app.send_task(TRAINING if step in LONG else BATCH, args=(batch,), queue=queue, ignore_result=True)


def depth(app: Celery, queue: str) -> int:
    """Messages that wait in a queue; the queue is declared anew, because a broker that was emptied has forgotten it."""
    with app.connection_for_write() as connection, connection.channel() as channel:
        app.amqp.queues[queue](channel).declare()
        return int(channel._size(queue))


def _configuration(settings: Settings) -> dict[str, Any]:
    limit = settings.jobs_time_limit
    return {
        "task_queues": [Queue(name, EXCHANGE, routing_key=name) for name in QUEUES],
        "task_default_queue": IO,
        "task_default_exchange": EXCHANGE.name,
        "task_default_routing_key": IO,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "task_time_limit": limit,
        # a message that is not acknowledged for so long is given to another worker: longer than any task may take
        "broker_transport_options": {
            "visibility_timeout": limit + 300,
            "global_keyprefix": settings.broker_prefix,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "retry_on_timeout": True,
            "health_check_interval": 10,
            "max_retries": 3,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 1,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # a connection that breaks takes no task with it: its lease and its upserts make it safe to go on
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_soft_shutdown_timeout": min(60.0, limit),
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "worker_enable_remote_control": True,
        "timezone": settings.jobs_timezone,
        "beat_schedule": {
            "tick": {  # carries the schedule, which only this process needs to know
                "task": TICK,
                "args": (settings.jobs_schedule, settings.jobs_timezone, settings.retrain_schedule),
                "schedule": TICK_SECONDS,
                "options": {"queue": IO, "expires": TICK_SECONDS * 2},
            }
        },
        "beat_max_loop_interval": TICK_SECONDS,
    }  # fmt: skip
