"""gRPC from Python, from code that grpcio-tools has made of todo.proto: python client.py HOST:PORT (see README.md)."""

import json
import sys

import grpc
import todo_pb2
import todo_pb2_grpc


def main(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stub = todo_pb2_grpc.TodoStub(channel)
        made = stub.CreateTodo(todo_pb2.CreateTodoRequest(title="from Python"), metadata=[("idempotency-key", "python-1")])
        again, call = stub.CreateTodo.with_call(
            todo_pb2.CreateTodoRequest(title="from Python"), metadata=[("idempotency-key", "python-1")]
        )
        header = dict(call.initial_metadata())
        say(same=made == again, replayed=header.get("idempotency-replayed"))

        stub.FinishTodo(todo_pb2.FinishTodoRequest(id=made.id))
        items = stub.ReadTodos(todo_pb2.ReadTodosRequest()).items
        say(done=[item.title for item in items if item.done])

        stream = stub.ReadTodosStream(todo_pb2.ReadTodosStreamRequest(pause_ms=1))
        say(streamed=[item.title for item in stream])
        say(cursor=dict(stream.trailing_metadata())["backtalk-cursor"] != "")

        try:
            stub.CreateTodo(todo_pb2.CreateTodoRequest(title=""))
        except grpc.RpcError as error:
            say(status=error.code().name)


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if len(sys.argv) != 2:
    print("usage: python client.py HOST:PORT, such as localhost:4450", file=sys.stderr)
    sys.exit(2)
main(sys.argv[1])
