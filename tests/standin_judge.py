"""A stand-in for an OpenAI-compatible chat-completions server, in a thread: what it does is set by a script."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(content, usage=(900, 20), model="standin-1.2", **choice):
    """A chat completion as the protocol has it."""
    data = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop", **choice}
        ],
    }
    if usage:
        data["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return data


def verdict(kind, *words):
    return json.dumps({"verdict": kind, "words": list(words)})


def shown_words(request):
    """The words of a request, out of its prompt."""
    text = request["messages"][-1]["content"][-1]["text"]
    return json.loads(next(line for line in text.split("\n") if line.startswith("[")))


class JudgeServer:
    """`script` holds what the next requests get, then `answer` decides.

    An entry is a string (the content of a completion), a dict (a whole body), or a tuple
    (status, body, headers); "hang up", "drip" and ("wait", seconds) are faults.
    """

    def __init__(self):
        self.script, self.requests, self.headers, self.busy, self.most = [], [], [], 0, 0
        self.answer = lambda request: verdict("concrete", *shown_words(request)[:1])
        self.lock = threading.Lock()

    def next(self, request):
        with self.lock:
            self.requests.append(request)
            self.busy += 1
            self.most = max(self.most, self.busy)
            if self.script:
                return self.script.pop(0)
        return self.answer(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        backend = self.server.backend
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with backend.lock:
            backend.headers.append(dict(self.headers))
        if self.path != "/v1/chat/completions":
            self.reply(404, {"error": {"message": f"no {self.path}"}})
            return
        step = backend.next(body)
        try:
            self.take(step)
        finally:
            with backend.lock:
                backend.busy -= 1

    def take(self, step):
        if step == "hang up":
            self.close_connection = True
            self.connection.shutdown(2)
        elif step == "drip":
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            for _ in range(40):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
            self.close_connection = True
        elif isinstance(step, tuple) and step[0] == "wait":
            time.sleep(step[1])
            self.reply(200, completion(verdict("none")))
        elif isinstance(step, tuple):
            self.reply(*step)
        else:
            self.reply(200, completion(step) if isinstance(step, str) else step)

    def reply(self, status, data, headers=()):
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        try:
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)
        except OSError:  # the client has left
            self.close_connection = True


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # clients that leave are part of the tests


@contextmanager
def judge_server():
    server = _Quiet(("127.0.0.1", 0), _Handler)
    server.backend = JudgeServer()
    server.backend.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.backend
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
