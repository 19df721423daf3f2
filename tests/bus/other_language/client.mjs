// A client of the bus, written from docs/protocol.md alone: `node client.mjs ADDRESS NAME`.
//
// It joins the consumer "js" and answers every event of topic "noted" with one of topic "answered". Between an event and its answer it
// keeps to the rule that makes a crash harmless: publish under a derived id and under the lease, wait for `puback`, then `ack`.
// What it hears and does is printed, one JSON object a line. An event with the text "refuse" is refused, "stop" ends the client.

import { hostname } from "node:os"
import { randomBytes } from "node:crypto"
import { decode, encode } from "@msgpack/msgpack"
import { Dealer } from "zeromq"

const HEARTBEAT_S = 0.5
const [address, name] = process.argv.slice(2)
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }))

class Client {
  // What was said with an `n` and is not answered yet, by n: said again, in order, after every `welcome`.
  unanswered = new Map()
  // Deliveries that are not confirmed as answered, by "seq/attempt".
  holds = new Map()
  session = randomBytes(8).toString("hex")
  again = false
  welcomed = false
  greeted = 0
  n = 0

  constructor() {
    this.socket = new Dealer({ immediate: true, linger: 500, maxMessageSize: 8 * 1024 * 1024, reconnectInterval: 50 })
    this.outbox = Promise.resolve()
    this.socket.events.on("handshake", () => this.hello())
    this.socket.events.on("disconnect", () => (this.welcomed = false))
    this.socket.connect(address)
    this.timer = setInterval(() => this.beat(), HEARTBEAT_S * 1000)
  }

  // A socket takes one send at a time.
  send(frame) {
    this.outbox = this.outbox.then(() => this.socket.send(encode(frame))).catch(error => say("unsent", { op: frame.op, why: error.message }))
  }

  subscription() {
    const holds = [...this.holds.values()].map(({ seq, attempt }) => [seq, attempt])
    return { sub: 1, consumer: "js", topics: ["noted"], start: "first", credit: 4, max_attempts: 2, touch_s: 30, holds }
  }

  hello() {
    this.welcomed = false
    this.greeted = Date.now()
    const about = { protocol: 1, name, session: this.session, again: this.again, role: "js", host: hostname(), pid: process.pid }
    this.send({ op: "hello", ...about, heartbeat_s: HEARTBEAT_S, subs: [this.subscription()] })
  }

  beat() {
    if (this.welcomed) this.send({ op: "ping", n: ++this.n })
    else if (this.greeted && Date.now() - this.greeted > 2000) this.hello()
  }

  // Resolves with the answer to a frame, however often the connection is lost in between.
  ask(frame) {
    const n = ++this.n
    return new Promise((resolve, reject) => {
      this.unanswered.set(n, { frame: { ...frame, n }, resolve, reject })
      if (this.welcomed) this.send({ ...frame, n })
    })
  }

  answered(n, settle) {
    const question = this.unanswered.get(n)
    this.unanswered.delete(n)
    if (question) settle(question)
  }

  async run() {
    for await (const [data] of this.socket) {
      const frame = decode(data)
      switch (frame.op) {
        case "welcome":
          this.again = this.welcomed = true
          say("welcome", { head: frame.head, holds: this.holds.size, unanswered: this.unanswered.size })
          this.drop(frame.stale)
          for (const [, { frame }] of [...this.unanswered].sort(([a], [b]) => a - b)) this.send(frame)
          break
        case "deliver":
          frame.seqs.forEach((seq, index) => this.handle(seq, frame.attempt, decode(frame.events[index])))
          break
        case "puback":
          this.answered(frame.n, ({ resolve, reject }) =>
            frame.refused.length ? reject(new Error(JSON.stringify(frame.refused))) : resolve(frame.seqs))
          break
        case "acked":
          for (const n of frame.n) this.answered(n, ({ resolve }) => resolve())
          break
        case "error":
          this.failed(frame)
          break
      }
    }
  }

  failed(frame) {
    say("error", { code: frame.code, why: frame.why })
    if (frame.code === "unknown") this.hello()
    else if (frame.leases) this.drop(frame.leases)
    else if (this.unanswered.has(frame.n)) this.answered(frame.n, ({ reject }) => reject(new Error(`${frame.code}: ${frame.why}`)))
    else if (["replaced", "protocol", "forbidden"].includes(frame.code)) process.exit(1)
  }

  drop(leases) {
    for (const [, seq, attempt] of leases) this.holds.delete(`${seq}/${attempt}`)
  }

  async handle(seq, attempt, event) {
    const key = `${seq}/${attempt}`
    if (this.holds.has(key)) return
    this.holds.set(key, { seq, attempt })
    const { text } = decode(event.data)
    say("deliver", { seq, attempt, text, source: event.source, type: event.type })
    try {
      if (text === "refuse") {
        await this.ask({ op: "nack", sub: 1, seq, attempt, reason: "told to", requeue: true, delay_s: 0 })
      } else {
        const answer = encode({
          specversion: "1.0",
          id: `${seq}/js/0`,
          source: name,
          type: "js.answered.v1",
          datacontenttype: "application/msgpack",
          topic: "answered",
          subject: event.subject ?? "",
          correlationid: event.correlationid ?? event.id,
          causationid: event.id,
          data: encode({ text: `${text}, said JavaScript` }),
        })
        const [number] = await this.ask({ op: "pub", events: [answer], lease: ["js", seq, attempt] })
        say("published", { seq: number })
        await this.ask({ op: "ack", sub: 1, attempt, seqs: [seq] })
      }
      say("settled", { seq, attempt })
    } catch (error) {
      say("refused", { seq, attempt, why: error.message })
    }
    this.holds.delete(key)
    if (text === "stop") await this.close()
  }

  async close() {
    clearInterval(this.timer)
    this.send({ op: "bye" })
    await this.outbox
    say("bye")
    this.socket.close()
  }
}

await new Client().run()
