"""Words and an example for each field that a request may have.

A name alone serves every shape with such a field; ``Shape.name`` goes before it.
"""

from __future__ import annotations

from typing import Any

FieldText = tuple[str, Any]
"""A description, and one value that fits."""

_IDLE = "Not supported beyond the values that ask for nothing; other values are refused."
_FROM_ANSWERS = "Stands in answers, which clients send back; only the empty value is taken."

GENERATION: dict[str, FieldText] = {
    "model": ("Name or alias of a model; the key's default model, or the server's, if left out.", "neo-demo"),
    "adapter": (
        "A LoRA adapter of the model. 'model:adapter' as the model's name means the same.",
        "formal",
    ),
    "temperature": ("How freely tokens are chosen; 0 always takes the likeliest.", 0.7),
    "top_p": (
        (
            "Only the likeliest tokens that together have this probability are considered. With 'top_k' 0 "
            "the 1,000 likeliest are looked at first."
        ),
        0.9,
    ),
    "top_k": ("Only so many of the likeliest tokens are considered; 0: no such bound.", 40),
    "min_p": ("Only tokens at least this many times as likely as the likeliest one are considered.", 0.05),
    "presence_penalty": ("Lowers the chance of tokens that have been used.", 0.0),
    "frequency_penalty": ("Lowers the chance of tokens by how often they have been used.", 0.0),
    "repeat_penalty": ("Divides the chance of the last 64 generated tokens; 1: off.", 1.1),
    "seed": ("The same request with the same seed has the same answer.", 42),
    "logit_bias": ("Added to the chance of tokens, by token id.", {"1234": -100.0}),
    "ignore_eos": ("Go on to 'max_tokens', whatever the model says; for measuring.", False),
    "stop": ("Texts that end the answer; they are not part of it.", ["\n\n"]),
    "stream": ("Server-sent events, one per piece of text, instead of one JSON object.", False),
    "user": ("A pseudonym of the person behind the request; see the key's 'fair_by_user'.", "user-7f3a"),
    "max_tokens": ("The answer ends after so many tokens, or when the context is full.", 256),
    "max_completion_tokens": ("The newer name of 'max_tokens'; goes before it.", 256),
    "reasoning": ("Whether the answer tells what the model thought; thoughts are counted anyway.", False),
    "chat_template_kwargs": ("Variables of the model's chat template.", {"enable_thinking": False}),
    "cache": (
        (
            "Whether the answer may be one that was computed before: 'auto' where it would be the same "
            "(temperature 0, or a seed), 'always', 'never'."
        ),
        "auto",
    ),
    "keep_alive": (
        (
            "How long the model stays in memory after this answer: seconds, or a text like '5m'; 0: it "
            "leaves at once; -1: it stays until its room is needed."
        ),
        "5m",
    ),
    "session_id": ("Continue the conversation that the server keeps under this id.", "visite-42"),
    "grammar": ("A GBNF grammar that the answer follows.", 'root ::= "oui" | "non"'),
    "response_format": (
        "What form the answer has: 'text', 'json_object', or 'json_schema' with a schema.",
        {"type": "json_object"},
    ),
    "logprobs": ("Whether each token of the answer comes with its log probability.", False),
    "top_logprobs": ("With 'logprobs', so many of the likeliest tokens at each place.", 0),
    "n": ("So many answers to one prompt.", 1),
    "best_of": ("Not supported beyond the values that ask for nothing; other values are refused.", 1),
    "echo": (_IDLE, False),
    "suffix": (_IDLE, None),
}
CONVERSATION: dict[str, FieldText] = {
    "messages": (
        "The conversation so far, the oldest message first.",
        [{"role": "user", "content": "Bonjour !"}],
    ),
    "ChatBody.prompt": ("The newest message, in place of 'messages'.", "Qu'est-ce qu'un CDI ?"),
    "ChatBody.context": (
        "With 'prompt': the messages before it.",
        [{"role": "user", "content": "Bonjour !"}, {"role": "assistant", "content": "Bonjour !"}],
    ),
    "GenerateBody.prompt": ("A text that the model continues.", "Le contrat de travail"),
    "system": ("Makes a chat of 'prompt': what the model is told before it.", "Réponds brièvement."),
    "role": ("Who speaks. 'developer' means the same as 'system'.", "user"),
    "content": ("What was said: a text, or a list of text parts.", "Bonjour !"),
    "Message.name": (_FROM_ANSWERS, None),
    "Message.tool_calls": (_FROM_ANSWERS, None),
    "refusal": (_FROM_ANSWERS, None),
    "audio": (_FROM_ANSWERS, None),
    "annotations": (_FROM_ANSWERS, None),
    "OpenAIMessage.tool_calls": (
        "Calls that the assistant made in this turn.",
        [{"id": "call_1", "type": "function", "function": {"name": "heure", "arguments": "{}"}}],
    ),
    "tool_call_id": ("With the role 'tool': the call that this is the result of.", "call_1"),
    "reasoning_content": ("What the assistant thought in this turn.", None),
    "OpenAIMessage.name": ("With the role 'tool': the function that was called.", "heure"),
    "email_context": (
        (
            "The prompt, or the newest message, came by mail. All of this is shown to the model as data that "
            "it must not obey."
        ),
        {"subject": "Congés payés", "sender": "claire@example.com"},
    ),
    "sender": ("Who wrote the mail.", "claire@example.com"),
    "subject": ("The mail's subject.", "Congés payés"),
    "thread_id": ("Not shown to the model; it comes back with the answer.", "thread-1"),
    "previous_messages": (
        "Earlier mails of the same thread, the oldest first; a text alone stands for its content.",
        [{"content": "Bonjour, une question…", "sender": "claire@example.com"}],
    ),
    "EmailContext.language": (
        "Of the words around the data and of a subject that has to be invented; the mail's own if left out.",
        "fr",
    ),
    "PreviousMessage.content": ("The text of the mail.", "Bonjour, une question…"),
    "PreviousMessage.sender": ("Who wrote it.", "claire@example.com"),
}
OPENAI: dict[str, FieldText] = {
    "tools": (
        "Functions that the model may call; for models whose chat template knows tools.",
        [{"type": "function", "function": {"name": "heure", "description": "Tells the time."}}],
    ),
    "tool_choice": ("Whether a function is called: none, any, at least one, or the one named.", "auto"),
    "parallel_tool_calls": ("Whether one answer may call several functions.", True),
    "reasoning_effort": ("How much a model that thinks shall think.", "low"),
    "stream_options": ("What a stream holds besides text; with 'stream' only.", {"include_usage": True}),
    "include_usage": ("Whether the stream ends with a chunk of token counts.", True),
    "include_obfuscation": (_IDLE, False),
    "safety_identifier": ("The newer name of 'user', which goes before it.", "user-7f3a"),
    "functions": (_IDLE, None),
    "function_call": (_IDLE, None),
    "modalities": (_IDLE, ["text"]),
    "prediction": (_IDLE, None),
    "verbosity": (_IDLE, "medium"),
    "web_search_options": (_IDLE, None),
    "moderation": (_IDLE, None),
    "service_tier": (_IDLE, "auto"),
    "store": (_IDLE, False),
    "metadata": ("Labels for answers that are stored; none is, so nothing happens.", {"project": "demo"}),
    "prompt_cache_key": ("A hint for a cache that works without it here.", "prefix-1"),
    "prompt_cache_retention": (_IDLE, "in_memory"),
    "prompt_cache_options": (_IDLE, None),
    "FunctionTool.type": ("The kind of tool.", "function"),
    "FunctionTool.function": ("The function.", {"name": "heure", "description": "Tells the time."}),
    "Function.name": ("What the model calls it.", "heure"),
    "Function.description": ("What it does; the model reads this.", "Tells the time."),
    "Function.parameters": ("JSON schema of its arguments.", {"type": "object", "properties": {}}),
    "CompletionBody.prompt": ("A text to be continued, or up to 16.", "Le contrat de travail"),
    "CompletionBody.logprobs": ("So many of the likeliest tokens at each place; null: none.", None),
    "JsonSchemaForm.name": ("What the form is called.", "conges"),
    "JsonSchemaForm.description": ("What it is for.", "Days of paid leave"),
    "schema": (
        "The JSON schema that the answer follows.",
        {"type": "object", "properties": {"jours": {"type": "integer"}}, "required": ["jours"]},
    ),
    "ResponseFormat.type": ("The kind of form.", "json_object"),
    "json_schema": ("With the type 'json_schema': the form.", None),
    "strict": ("Whether the arguments follow the schema exactly.", None),
    "MadeCall.id": ("As it stood in the answer.", "call_1"),
    "MadeCall.type": ("The kind of call.", "function"),
    "MadeCall.function": ("What was called.", {"name": "heure", "arguments": "{}"}),
    "MadeCall.index": ("Stands in the chunks of streams; the order says the same.", 0),
    "CalledFunction.name": ("The function's name.", "heure"),
    "CalledFunction.arguments": ("Its arguments: JSON in a string.", "{}"),
    "input": (
        "A text, several texts, the token ids of a text, or of several.",
        "Combien de congés payés par an ?",
    ),
    "EmbeddingsBody.model": ("Name or alias of an embedding model.", "neo-embed"),
    "encoding_format": ("Numbers, or base64 of 32-bit floats, little-endian.", "float"),
    "dimensions": ("The first so many numbers of each vector, for models that allow it.", 256),
}
KEYS: dict[str, FieldText] = {
    "KeyBody.name": ("For people: what the key is for.", "intranet"),
    "scopes": ("What the key opens.", ["generate", "models:read"]),
    "requests_per_minute": ("0: no limit. Left out: RATE_LIMIT_PER_MINUTE.", 60),
    "tokens_per_minute": ("Prompt and answer together. 0 or left out: no limit.", 20_000),
    "tokens_per_day": ("Prompt and answer together, by days in UTC. 0 or left out: no limit.", 500_000),
    "concurrent_requests": ("Requests at the same time. 0 or left out: no limit.", 4),
    "allowed_models": ("Names of the models that the key may use; none: all of them.", ["neo-demo"]),
    "default_model": ("For requests that name no model; left out: the server's.", "neo-demo"),
    "networks": ("CIDR networks from which the key may be used; none: from anywhere.", ["192.0.2.0/24"]),
    "priority": ("Higher classes are computed first; within one, keys take turns.", "normal"),
    "fair_by_user": ("Waiting requests take turns by the 'user' that they name, not by key.", False),
    "expires_at": ("When the key ends, with its time zone; left out: never.", "2030-01-31T12:00:00+01:00"),
    "LoadBody.model": ("Name or alias of the model; the default model if left out.", "neo-demo"),
    "UnloadBody.model": ("Name or alias of the model; the default model if left out.", "neo-demo"),
    "PullBody.name": (
        "Name or alias of a model of the models file, or owner/name of a repository.",
        "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
    ),
    "AdapterBody.name": ("What requests call it.", "lettre"),
    "AdapterBody.path": (
        "A GGUF file or a folder of PEFT's; a relative path begins in MODEL_CACHE_DIR or ADAPTER_FOLDERS.",
        "adapters/lettre.gguf",
    ),
    "AdapterBody.scale": ("How strongly it counts; 1 if left out.", 1.0),
    "wait": ("Whether the answer comes when the model is resident; otherwise at once.", True),
    "force": ("Break off the answers that the model is giving.", False),
    "grace_seconds": ("How long the old secret goes on working; left out: it ends at once.", 3600),
}
TRANSCRIPTION: dict[str, FieldText] = {
    "TranscriptionBody.file": ("The recording.", "…"),
    "TranscriptionBody.model": ("Name of the transcription model.", "whisper-1"),
    "TranscriptionBody.language": ("What is spoken, as an ISO 639 code; found out if left out.", "fr"),
    "TranscriptionBody.prompt": ("Words that may occur, or the text before.", "CDI, CDD, congés payés"),
    "TranscriptionBody.response_format": ("The form of the answer.", "json"),
    "TranscriptionBody.temperature": ("How freely words are chosen.", 0.0),
    "TranscriptionBody.timestamp_granularities[]": ("What gets times, with 'verbose_json'.", ["segment"]),
    "TranscriptionBody.stream": ("Not supported: only 'false' is taken.", "false"),
}
BATCHES: dict[str, FieldText] = {
    "custom_id": ("Your own name of this request, one that no other line has.", "1"),
    "method": ("Always 'POST'.", "POST"),
    "url": ("The route that would answer it.", "/api/v1/chat"),
    "body": ("What that route takes, without 'stream'.", {"prompt": "Bonjour !"}),
}
REQUEST_FIELDS: dict[str, FieldText] = GENERATION | CONVERSATION | OPENAI | KEYS | TRANSCRIPTION | BATCHES
