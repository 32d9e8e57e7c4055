"""The locustfile that others.yaml names; nothing runs it."""

from locust import FastHttpUser, task


class Mine(FastHttpUser):
    @task
    def get(self) -> None:
        self.client.get("/")
