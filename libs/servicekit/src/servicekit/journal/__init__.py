"""Every message that came in ends in exactly one recorded answer, or in a state that the operator sees.

::

    receive -> an entry, stored once however often the message comes -> acknowledge the message
            -> a worker claims the LANE of its chat or thread
            -> parts of the answer, stored BEFORE the first is sent -> send -> sent

A lane is one chat or thread. Whoever holds it works on its entries one after the other; every write checks
that the lane is still held, by a number that grows with each claim (a fencing token: Kleppmann, "How to do
distributed locking", 2016). So a worker that lost its lane, because it was slow, paused or cut off, can do
no harm any more, and an entry's answer is written by one worker only.

What is stored is bytes: services seal and open what people wrote.
"""
