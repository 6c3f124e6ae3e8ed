import json
import secrets
import smtplib
import subprocess
import tempfile
from django.core.cache import cache
from django.core.mail import send_mail
from django.db import connection, transaction
from django.utils import timezone
from shop.models import Order
from sqlalchemy import create_engine

from durable import Workflow, activity, sleep, workflow

engine = create_engine("sqlite://")


@activity
def capture(order_id: int) -> str: ...


@workflow
def process(order_id: int) -> Workflow[str]:
    order = Order.objects.get(pk=order_id)
    due = timezone.now()  # expect: DUR101 django.utils.timezone.now() gives another time in each replay
    with connection.cursor() as cursor:  # expect: DUR104 django.db.connection.cursor() is done again in every replay
        cursor.execute("select 1")
    receipt = capture(order_id)  # expect: DUR121 capture(…) is called in the workflow
    send_mail("paid", receipt, None, [order.email])  # expect: DUR104 django.core.mail.send_mail() is done again in every replay
    subprocess.run(["lp", receipt])  # expect: DUR104 subprocess.run() is done again in every replay
    with tempfile.NamedTemporaryFile("w") as file:  # expect: DUR104 tempfile.NamedTemporaryFile() is done again in every replay
        json.dump({"token": secrets.token_hex()}, file)  # expect: DUR102 secrets.token_hex() draws another number in each replay
    with smtplib.SMTP("mail") as smtp:  # expect: DUR104 smtplib.SMTP() is done again in every replay
        smtp.sendmail("a", "b", receipt)
    yield sleep(due)
    return receipt
