from locust import FastHttpUser, task


class Greedy(FastHttpUser):
    @task
    def get(self) -> None:
        self.client.get("/")
