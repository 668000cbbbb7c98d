"""A client in Python with pika, which knows AMQP and nothing of Backtalk. Prints what it got as JSON."""

import json
import sys

import pika

url, prefix = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.confirm_delivery()


def call(reply_queue, key, body, correlation_id, **more):
    """Asks as the tutorials of RabbitMQ do, and waits for the last answer."""
    answers = []

    def on_answer(_channel, _method, properties, body):
        if properties.correlation_id == correlation_id:
            answers.append([properties.type, json.loads(body)])

    tag = channel.basic_consume(reply_queue, on_answer, auto_ack=True)
    properties = pika.BasicProperties(reply_to=reply_queue, correlation_id=correlation_id, **more)
    channel.basic_publish(prefix + ".calls", key, body, properties, mandatory=True)
    while not answers or answers[-1][0] not in ("result", "fault"):
        connection.process_data_events(time_limit=1)
    channel.basic_cancel(tag)
    return answers


own = channel.queue_declare("", exclusive=True).method.queue
named = channel.queue_declare(prefix + ".pika", exclusive=True).method.queue
said = {
    "direct": call("amq.rabbitmq.reply-to", "shop.sum", '{"a":20,"b":22}', "1"),
    "own": call(own, "shop.once", '{"name":"own"}', "1"),
    "named": [call(named, "shop.once", '{"name":"named"}', "1") for _ in range(2)],
    "stream": call(own, "shop.count", '{"to":3}', "2"),
    "bad": call(own, "shop.sum", '{"a":"x"}', "3"),
    "keyed": [call(own, "shop.once", '{"name":"keyed"}', n, message_id="k") for n in ("4", "5")],
}

# Publishing: an event that is sent twice by its message_id is one, those of one conversation are each their own.
for text, properties in [
    ("first", pika.BasicProperties(message_id="e")),
    ("first", pika.BasicProperties(message_id="e")),
    ("talk", pika.BasicProperties(correlation_id="conversation")),
    ("talk", pika.BasicProperties(correlation_id="conversation")),
]:
    channel.basic_publish(prefix + ".topics", "notes", json.dumps({"text": text}), properties, mandatory=True)

# Hearing: what a server publishes, on a queue that is bound to the exchange of topics.
heard = []
ear = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(ear, prefix + ".topics", "notes")
print(json.dumps(said), flush=True)


def on_event(_channel, _method, properties, body):
    heard.append({"id": properties.message_id, "type": properties.type, "event": json.loads(body)})


channel.basic_consume(ear, on_event, auto_ack=True)
while not heard:
    connection.process_data_events(time_limit=1)
print(json.dumps(heard), flush=True)
connection.close()
