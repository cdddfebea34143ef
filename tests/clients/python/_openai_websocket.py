"""PyPI's openai over WebSockets: one connection for responses, and one for a realtime session. Prints what it heard as JSON.

    python _openai_websocket.py URL KEY        URL is that of OpenAI's API below a gateway
"""

import json
import sys

from openai import OpenAI

url, key = sys.argv[1:]
client = OpenAI(base_url=url, api_key=key, websocket_base_url=url.replace("http", "ws", 1), max_retries=0)
heard = {"responses": [], "errors": [], "realtime": []}

with client.responses.connect() as connection:
    for number in range(4):
        connection.response.create(model="gpt-4o", input=f"number {number}", stream_id="main")
        for event in connection:
            if event.type == "response.completed":
                heard["responses"].append([event.response.id, event.response.output_text, event.response.usage.total_tokens])
                break
            if event.type == "error":
                heard["errors"].append([event.status, event.error.code, event.error.message])
                break

with client.realtime.connect(model="gpt-realtime") as connection:
    connection.conversation.item.create(item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]})
    connection.response.create(response={"output_modalities": ["audio"]})
    for event in connection:
        if event.type == "response.done":
            heard["realtime"].append([event.response.id, event.response.usage.total_tokens])
            connection.response.create()
        if event.type == "error":
            heard["errors"].append([event.error.code, event.error.message])
            break

print(json.dumps(heard))
