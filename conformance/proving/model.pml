/* Two ends of each connection, as the state tables have them. Made by `python -m proving`.
 *
 * End 2c is the client of connection c, end 2c + 1 its server. A key is a namespace or a room: the
 * namespaces come first, then the rooms of each. A slot is a token of one end. The lines that name
 * a row of a table are made from it; all others are what the specification says around the tables.
 */
#define CONNECTIONS {{ size.connections }}
#define ENDS {{ 2 * size.connections }}
#define NAMESPACES {{ size.namespaces }}
#define KEYS {{ size.keys }}
#define SLOTS {{ size.asks }}

/* A channel has room for an ask in each slot of its sender, a reply to each slot of its receiver,
 * an event, the handshake's answer and the end: `send` asserts that nobody ever waits for room. */
#define ROOM_FOR (2 * SLOTS + 3{{ ' + 1' if size.cuts }})

{% for name, values in numbers.items() -%}
/* {{ name }} */
{% for value in values -%}
#define {{ value.name }} {{ value.number }}
{% endfor %}
{%- endfor %}
/* What is sent: a handshake message, an ask, a reply, an event, the end of the connection. */
#define M 1
#define A 2
#define H 3
#define ASK_CONNECT 4
#define ASK_DISCONNECT 5
#define ASK_EVENT 6
#define DONE 7
#define ERROR 8
#define EVENT 9
#define CLOSED 10

/* A token is free, its ask is with the other end or on its way there, or its reply is. */
#define FREE 0
#define ASKED 1
#define REPLIED 2

byte handshake[ENDS];
byte membership[ENDS * KEYS];
byte told[ENDS]; /* the keys that the application was told of as connected, as bits */
byte deciding[ENDS * KEYS]; /* the slots whose asks wait for a decision of this end, as bits */
byte kind[ENDS * SLOTS]; /* what this end's pending ask is, or 0 */
byte about[ENDS * SLOTS]; /* the key that it is about */
bool superseded[ENDS * SLOTS];
byte token[ENDS * SLOTS];
byte incoming[ENDS * SLOTS]; /* 1 + the namespace in which the other end's application has it */
chan net[ENDS] = [ROOM_FOR] of { byte, byte, byte, bool }; /* to this end: what, key, slot, late */

#define MEMBERSHIP(e, k) membership[(e) * KEYS + (k)]
#define SLOT(e, s) ((e) * SLOTS + (s))
#define PEER(e) ((e) ^ 1)
#define IS_SERVER(e) ((e) & 1)
#define IS_ROOM(k) ((k) >= NAMESPACES)
#define SPACE(k) ({% if size.rooms %}IS_ROOM(k) -> ((k) - NAMESPACES) / {{ size.rooms }} : {% endif %}(k))
#define IS_LIVE_STATE(m) ({{ live }})
#define IS_LIVE(e, k) (IS_LIVE_STATE(MEMBERSHIP(e, k)) && IS_LIVE_STATE(MEMBERSHIP(e, SPACE(k))))
#define BIT(k) (1 << (k))
#define IS_FREE(e, s) (kind[SLOT(e, s)] == 0 && token[SLOT(e, s)] == FREE)
#define HAS_FREE(e) ({% for s in slots %}{{ " || " if s }}IS_FREE(e, {{ s }}){% endfor %})
#define LEAVES(e, k) (MEMBERSHIP(e, k) == DISCONNECTING || MEMBERSHIP(e, SPACE(k)) == DISCONNECTING)

c_decl {
  static unsigned long taken[{{ rows|length }}];
  static void report(void) {
    for (int row = 0; row < {{ rows|length }}; row++) fprintf(stderr, "row %d %lu\n", row, taken[row]);
  }
}
#define TAKE(row) c_code { taken[row]++; }

{% if 'replies' in checked -%}
#define CHECK_REPLY(x) assert(token[x] == ASKED) /* no reply to what was not asked, nor a second one */
{%- else -%}
#define CHECK_REPLY(x) skip
{%- endif %}
{% if 'handled' in checked -%}
#define CHECK_HANDLED(e, k) assert(told[e] & BIT(k)) /* no event handled outside what is connected */
{%- else -%}
#define CHECK_HANDLED(e, k) skip
{%- endif %}
{% if 'strangers' in checked -%}
#define CHECK_STRANGER(late) assert(late) /* nothing reaches a stranger, but what crosses its sender's ask to leave */
{%- else -%}
#define CHECK_STRANGER(late) skip
{%- endif %}
{% if 'accused' in checked -%}
#define ACCUSED assert(false) /* no end accuses the other */
{%- else -%}
#define ACCUSED skip
{%- endif %}

inline send(e, what, k, s, late) { /* from end e */
  assert(nfull(net[PEER(e)]));
  printf("@ %d %d %d %d\n", e, what, k, s);
  net[PEER(e)]!what, k, s, late;
}

inline reply(e, what, k, s) { /* to the other end's ask in slot s */
  send(e, what, k, s, false);
  CHECK_REPLY(SLOT(PEER(e), s));
  token[SLOT(PEER(e), s)] = REPLIED;
}

inline reply_all(e, what, k) {
{%- for s in slots %}
  if :: deciding[(e) * KEYS + (k)] & {{ 2 ** s }} -> reply(e, what, k, {{ s }}) :: else fi;
{%- endfor %}
  deciding[(e) * KEYS + (k)] = 0;
}

inline drop(x) { token[x] = FREE; } /* nobody will reply to it */

inline withdraw_all(e, k) {
{%- for s in slots %}
  if :: deciding[(e) * KEYS + (k)] & {{ 2 ** s }} -> drop(SLOT(PEER(e), {{ s }})) :: else fi;
{%- endfor %}
  deciding[(e) * KEYS + (k)] = 0;
}

inline supersede(e, k) { /* the other end's ask has brought about the same */
{%- for s in slots %}
  if
  :: kind[SLOT(e, {{ s }})] != 0 && kind[SLOT(e, {{ s }})] != ASK_EVENT && about[SLOT(e, {{ s }})] == k ->
    superseded[SLOT(e, {{ s }})] = true
  :: else
  fi;
{%- endfor %}
}

inline settle(x) { kind[x] = 0; about[x] = 0; superseded[x] = false; }

inline close_ask(e, x) { /* of this end */
  if
{{ tables.outgoing_closed }}
  fi;
}

inline close_incoming(e, x) { /* of the other end */
  if
{{ tables.incoming_closed }}
  fi;
}

inline close_key(e, k) {
  if
{{ tables.membership_closed }}
  fi;
}

inline end_inside(e, n) { /* the rooms of a namespace, and the asks in it, of both ends */
{%- for n in spaces %}
  if
  :: n == {{ n }} ->
{%- for k in rooms_of[n] %}
    close_key(e, {{ k }});
{%- endfor %}
{%- for s in slots %}
    if
    :: kind[SLOT(e, {{ s }})] != 0 && SPACE(about[SLOT(e, {{ s }})]) == {{ n }} && (kind[SLOT(e, {{ s }})] == ASK_EVENT || IS_ROOM(about[SLOT(e, {{ s }})])) -> close_ask(e, SLOT(e, {{ s }}))
    :: else
    fi;
    if
    :: incoming[SLOT(PEER(e), {{ s }})] == {{ n + 1 }} -> close_incoming(e, SLOT(PEER(e), {{ s }}))
    :: else
    fi;
{%- endfor %}
  :: else
  fi;
{%- endfor %}
}

inline close_end(e) {
{%- for k in keys|reverse %}
  close_key(e, {{ k }});
{%- endfor %}
{%- for s in slots %}
  close_ask(e, SLOT(e, {{ s }}));
  close_incoming(e, SLOT(PEER(e), {{ s }}));
{%- endfor %}
}

/* What a row ends besides its own membership is ended once its row is taken, in the same step. */
#define ALL 255
inline finish(e) {
  if
  :: ending == 0
  :: ending == ALL -> d_step { close_end(e); ending = 0 }
  :: else -> d_step { end_inside(e, ending - 1); ending = 0 }
  fi
}

inline send_ask(e, what, k, s) {
  if
{{ tables.outgoing_send }}
  fi;
}

/* One message: the handshake's table, then that of its ask, then that of its membership. */
proctype receiver(byte e) {
  byte what, k, s, input, ending;
  bool late, reading;
end:
  do
  :: atomic {
    net[e]?what, k, s, late ->
    printf("+ %d %d %d %d\n", e, what, k, s);
    if
    :: what == M -> input = IN_REQUEST
    :: what == A -> input = IN_ACCEPTANCE
    :: what == H -> input = IN_REFUSAL
    :: what == CLOSED -> input = IN_CLOSED
    :: else -> input = IN_OTHER
    fi;
    if
{{ tables.handshake_received }}
    fi;
    input = 0;
    if
    :: !reading
    :: reading && what == EVENT ->
      if
      :: IS_LIVE(e, k) -> CHECK_HANDLED(e, SPACE(k)); CHECK_HANDLED(e, k)
      :: else -> CHECK_STRANGER(late)
      fi
    :: reading && what == ASK_EVENT ->
      if
      :: !IS_LIVE(e, k) -> d_step { reply(e, ERROR, k, s); }
{{ tables.incoming_asked }}
      fi
    :: reading && (what == ASK_CONNECT || what == ASK_DISCONNECT) ->
      if
      :: IS_ROOM(k) && !IS_LIVE_STATE(MEMBERSHIP(e, SPACE(k))) -> d_step { reply(e, ERROR, k, s); }
      :: else -> input = (what == ASK_CONNECT -> IN_ASK_CONNECT : IN_ASK_DISCONNECT)
      fi
    :: reading && (what == DONE || what == ERROR) ->
      token[SLOT(e, s)] = FREE;
      if
{{ tables.outgoing_received }}
      fi
    :: reading && what <= H
    fi;
    if
    :: input == 0
{{ tables.membership_received }}
    fi;
    finish(e);
    what = 0; k = 0; s = 0; input = 0; late = false; reading = false
  }
  od
}

/* The application, where it owes an answer: fair, since it always answers. */
proctype greeter(byte e) {
  byte ending;
end:
  do
  :: atomic {
    if
{{ tables.handshake_decided }}
    fi;
    finish(e)
  }
  od
}

proctype decider(byte e; byte k) {
  byte ending;
end:
  do
  :: atomic {
    if
{{ tables.membership_decided }}
    fi;
    finish(e)
  }
  od
}

/* What becomes of one event ask of the other end: the answer of this one, and the deadline there. */
proctype asker(byte e; byte s) {
end:
  do
{{ tables.incoming_decided }}
{{ tables.outgoing_deadline }}
  od
}

/* The application, where it does what it likes, and the network. */
proctype commander(byte e) {
  byte ending;
  byte k, s;
  bool late; /* here, since arguments of an inline must be short */
end:
  do
  :: atomic {
    if
{{ tables.handshake_commands }}
    fi;
    finish(e)
  }
{%- for k in keys %}
  :: d_step {
    handshake[e] == HANDSHAKE_OPEN && HAS_FREE(e){% if k >= size.namespaces %} && IS_LIVE_STATE(MEMBERSHIP(e, SPACE({{ k }}))){% endif %} && (
{%- for state in commandable %}{{ " || " if not loop.first }}MEMBERSHIP(e, {{ k }}) == {{ state }}{% endfor %}) ->
    if{% for s in slots %} :: IS_FREE(e, {{ s }}) -> s = {{ s }}{% endfor %} fi;
    k = {{ k }};
    if
{{ tables.membership_commands }}
    fi;
    k = 0;
    s = 0
  }
{%- if size.events %}
  :: d_step {
    handshake[e] == HANDSHAKE_OPEN && IS_LIVE(e, {{ k }}) && !(net[PEER(e)]??[EVENT, _, _, _]) ->
    late = LEAVES(e, {{ k }});
    send(e, EVENT, {{ k }}, 0, late);
    late = false
  }
{%- endif %}
{%- if size.event_asks and k < size.namespaces %}
  :: d_step {
    handshake[e] == HANDSHAKE_OPEN && IS_LIVE(e, {{ k }}) && HAS_FREE(e) ->
    if{% for s in slots %} :: IS_FREE(e, {{ s }}) -> s = {{ s }}{% endfor %} fi;
    send_ask(e, ASK_EVENT, {{ k }}, s);
    s = 0
  }
{%- endif %}
{%- endfor %}
{%- if size.cuts %}
  :: d_step { /* the network loses the connection, and what is on its way */
    !IS_SERVER(e) && handshake[e] != HANDSHAKE_CLOSED && handshake[PEER(e)] != HANDSHAKE_CLOSED ->
    do :: net[e]?_, _, _, _ :: empty(net[e]) -> break od;
    do :: net[PEER(e)]?_, _, _, _ :: empty(net[PEER(e)]) -> break od;
    send(e, CLOSED, 0, 0, false);
    send(PEER(e), CLOSED, 0, 0, false)
  }
{%- endif %}
{%- if watched %}
  :: break /* it may also do nothing indefinitely */
{%- endif %}
  od
}
{% if 'agreement' in checked %}
/* Where nothing is under way, both ends agree. */
proctype observer(byte e) {
end:
  do
  :: d_step {
    empty(net[e]) && empty(net[PEER(e)]) && handshake[e] == handshake[PEER(e)]
{%- for k in keys %} && !deciding[e * KEYS + {{ k }}] && !deciding[PEER(e) * KEYS + {{ k }}]{% endfor %}
{%- for s in slots %} && !incoming[SLOT(e, {{ s }})] && !incoming[SLOT(PEER(e), {{ s }})]{% endfor %} ->
    assert(told[e] == told[PEER(e)]);
{%- for k in keys %}
    assert(IS_LIVE(e, {{ k }}) == IS_LIVE(PEER(e), {{ k }}));
    assert(IS_LIVE(e, {{ k }}) == ((told[e] >> {{ k }}) & 1));
{%- endfor %}
{%- for s in slots %}
{%- for x in ["SLOT(e, " ~ s ~ ")", "SLOT(PEER(e), " ~ s ~ ")"] %}
    assert(kind[{{ x }}] == 0 || kind[{{ x }}] == ASK_EVENT);
    assert(token[{{ x }}] == FREE || handshake[e] == HANDSHAKE_CLOSED){% if not loop.last %};{% endif %}
{%- endfor %}
{%- if not loop.last %};{% endif %}
{%- endfor %}
  }
  od
}
{% endif %}
{%- if watched %}
byte watched_end, watched_one;
#define IS_ASK_PENDING (kind[SLOT(watched_end, watched_one)] != 0)
#define IS_UNSETTLED ({{ unsettled }})
never { /* <>[]: from some moment on, what is watched waits indefinitely */
begin:
  do
  :: true
  :: ({{ watched }}) -> goto accept
  od;
accept:
  do
  :: ({{ watched }})
  od
}
{% endif %}
init {
  c_code { atexit(report); };
  atomic {
{%- if watched %}
    if{% for e in ends %} :: watched_end = {{ e }}{% endfor %} fi;
    if{% for each in watchable %} :: watched_one = {{ each }}{% endfor %} fi;
{%- endif %}
{%- for e in ends %}
    handshake[{{ e }}] = {{ "HANDSHAKE_" ~ (initial.server if e % 2 else initial.client)|upper }};
    run receiver({{ e }});
{%- if e % 2 %}
    run greeter({{ e }});
{%- elif 'agreement' in checked %}
    run observer({{ e }});
{%- endif %}
    run commander({{ e }});
{%- for k in keys %}
    run decider({{ e }}, {{ k }});
{%- endfor %}
{%- if size.event_asks %}
{%- for s in slots %}
    run asker({{ e }}, {{ s }});
{%- endfor %}
{%- endif %}
{%- endfor %}
  }
}
