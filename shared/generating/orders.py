"""Where a product text stops describing and starts to command.

No list of phrases is whole, and none has to be: what a model writes passes the gate, whoever told it to. This keeps the
orders that are known from reaching it, so that an advertiser's text costs no candidates. The phrases are matched on
folded text (`shared.policy.folding`): letters of another script, traditional characters, signs between the characters
and invisible ones make no difference.
"""

from __future__ import annotations

import re

from shared.policy.folding import fold_text

_META = (
    r"(?:instructions?|prompts?|guidelines"
    r"|(?:above|previous|prior|preceding|earlier)\s+(?:text|rules?|messages?|content))"
)
_VERB = r"(?:write|say|output|print|reply|respond|answer|repeat|recite|echo|type|state|mention|praise)"
_ANSWER = r"(?:answer|reply|response|output|sentence|message|ad|copy|headline)"
_ENGLISH = (
    rf"\b(?:ignore|disregard|forget|override|bypass)\b[^.!?\n]{{0,30}}\b(?:the above|{_META})\b",
    r"\b(?:ignore|disregard|forget)\b[^.!?\n]{0,20}\byou(?:'ve| have| were| are)?\s+(?:been\s+)?(?:told|given|asked)\b",
    r"\b(?:not|n't|never|stop)\s+(?:follow|obey|heed)",
    r"\b(?:new|updated|real|following)\s+(?:system\s+)?instructions?\b|\bsystem\s+(?:prompt|message)\b",
    rf"\binstead\s*,?\s+{_VERB}\b",
    rf"\b{_VERB}\s+(?:only|exactly|nothing but|the following|everything|all (?:of )?the|your (?:system|prompt|rules)"
    r"|the (?:words?|phrase) (?!and\b|or\b|to\b|when\b)[\"'“\w]|word for word|with (?:exactly|only|the|\w+$))",
    rf"\b(?:begin|start|end|finish)\s+(?:your|the|every|each)\s+{_ANSWER}s?\b",
    r"\b(?:in|into|to|of)\s+(?:your|the)\s+(?:answer|reply|response|output)s?\b",
    r"\b(?:base64|rot13)\b|\b(?:decode|decrypt)\s+(?:this|the following|it)\b|\bdo(?:es)? (?:what|as) it says\b",
    r"\byou\s+are\s+(?:now|no longer)\s+(?:an?|the|my|in|dan|called|named)\b|\b(?:ai|assistant|model) without\b",
    r"\byou\s+(?:only|must only|may only|shall only)\s+(?:answer|say|write|reply)\b"
    r"|\bfrom now on,? (?:you only|you must|only|answer|write)",
    r"(?:^|\byou\s+(?:must|should|will|now)\s+)(?:act as|pretend to be)\b",
    r"\b(?:attention|note|message|dear|hint|hey)\b[\s,:]{0,3}(?:to|for)?\s?(?:the|all|any)?\s?"
    r"(?:ais?|llms?|gpt|(?:large )?language models?|models?|assistants?|chatbots?)\b",
    r"\b(?:debug|developer|god|jailbreak) mode\b|\bjailbreak\b|\bprompt injection\b",
    r"\breader(?:'s|s'|s)? (?:interests|history|profile|data)\b"
    r"|\bthe (?:user|customer)(?:'s|s') (?:interests|history|profile)\b"
    r"|\bknow about (?:them|the reader|the user|him|her)\b",
    r"\b(?:everything|all|text|words|line) above\b|\babove this line\b",
    rf"\b(?:system|developer|model|ai)\s*[:：]\s*(?:you|now|please|ignore|enable|{_VERB})\b",
    r"\b(?:please\s+)?(?:include|insert|add|use)\s+the\s+(?:word|phrase|text|string)\b",
    r"[\"']role[\"']\s*:|[\"']content[\"']\s*:",
    r"\b(?:ignora|ignorad|ignorez|ignoriere|ignoriert|ignori|vergiss|oublie[zr]?|olvida)\b[^.!?\n]{0,40}"
    r"\b(?:instruc\w*|istruzioni|anweisung\w*|consignes|regeln|reglas|regles)\b",
)
_BEFORE = r"(?:以上|上述|上面|之前|前面|先前|此前)"
_SAYING = r"(?:输出|复述|重复|回复|回答|打印)"
_CHINESE = (
    r"(?:忽略|无视|忘记|忘掉|不要理会|不要遵守|别理会|别管|绕过)[^。！？\n]{0,12}"
    rf"(?:以上(?!门)|上述|上面的|前面的|{_BEFORE}的|指令|指示|提示词|规则|设定)",
    rf"{_BEFORE}的?(?:所有|全部)?(?:指令|指示|提示词?|规则|要求)[^。！？\n]{{0,8}}(?:作废|无效|失效|忽略|取消)",
    r"系统提示词|(?:新的|真正的)(?:指令|指示)|(?:你|您)(?:现在|从现在起)(?:是|扮演)|(?:你|您|请)(?:来|要)?扮演|假装你是",
    rf"(?:改为|改成|只能|必须|请|直接){_SAYING}|(?:只|一律)(?:写|说|回复|回答)(?!一)|从现在(?:起|开始)[^。\n]{{0,4}}(?:你|您|只)",
    rf"(?:{_SAYING}|翻译)[^。\n]{{0,4}}{_BEFORE}(?:的)?(?:全部|所有)?(?:内容|文字)",
    r"(?:回复|回答|输出|文案|广告语)(?:里|中)[^。\n]{0,4}(?:加入|加上|包含|写上|提到|要写)|文案(?:必须|应当|应该|只能)",
    r"读者的(?:兴趣|喜好|资料|信息|历史)|(?:列出|说出|告诉)[^。，\n]{0,4}(?:读者|用户的)",
    r"(?:ai|大?模型|语言模型|助手)[\s,，:：]?(?:请注意|注意|听着|你)|给(?:ai|大?模型|语言模型|助手)的(?:提示|话|指令|说明)",
    r"系统[:：](?:从现在|你|您|请|现在)",
)
_ORDERS = re.compile("|".join((*_ENGLISH, *_CHINESE)), re.I)


def commands(sentence: str) -> bool:
    """Whether a sentence gives an order to whoever reads it, beyond what a product text does."""
    return bool(_ORDERS.search(sentence) or _ORDERS.search(fold_text(sentence).text))
