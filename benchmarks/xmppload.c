/* xmppload - epoll XMPP client load generator (loopback only).
 * Build: cc -O2 -o xmppload xmppload.c -lssl -lcrypto       Help: ./xmppload --help
 *
 * A coordinator process forks -p workers; each runs one epoll loop over its own slice of the users.
 * The coordinator only switches phases (LOGIN, PREP, RUN, DRAIN, LOGOUT) through shared memory and
 * samples CPU and memory of the server (--pid trees), of the workers, and of the whole machine. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t u64;
typedef unsigned u32;
enum { S_LOGIN, S_IDLE, S_CHAT, S_MUC, S_PRESENCE, S_MAM, S_REGISTER };
static const char *SCEN[] = { "login", "idle", "chat", "muc", "presence", "mam", "register" };
enum { PH_WAIT, PH_LOGIN, PH_PREP, PH_RUN, PH_DRAIN, PH_LOGOUT };
#define MAXP 16
#define RING 4096 /* room messages in flight, at most */

static struct {
    int scen, port, users, first, conc, procs, tls, session, sm, smreq, presence, roster, bare, body, window,
        rooms, occ, senders, friends, preloaded, nodecl, fill, mammax, nocoalesce, poisson, verbose, npid, pids[64], nbes, bes[64], maxtime;
    double secs, warm, drain, rate, hold;
    const char *host, *domain, *userfmt, *passfmt, *resource, *muc, *label, *json, *mech, *cache;
} o = { .port = 5222, .users = 100, .first = 1, .conc = 32, .procs = 1, .presence = 1, .body = 64, .window = 4,
    .rooms = 1, .occ = 50, .friends = 10, .fill = 100, .mammax = 50, .maxtime = 600, .secs = 10, .warm = 2,
    .drain = 5, .host = "127.0.0.1", .domain = "localhost", .userfmt = "user%d", .passfmt = "pass%d",
    .resource = "xl", .label = "", .mech = "auto" };

static u64 mono(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }
static double expo(double mean) { /* exponentially distributed (so that libm is not needed: -ln u by halving and a series) */
    double u = drand48() + 1e-12, r = 0, z, t; while (u < .5) { u *= 2; r += .69314718056; }
    z = (u - 1) / (u + 1); t = z * z; return mean * (r - 2 * z * (1 + t / 3 + t * t / 5 + t * t * t / 7 + t * t * t * t / 9));
}
static void die(const char *f, ...) {
    va_list a; va_start(a, f); fputs("xmppload: ", stderr); vfprintf(stderr, f, a); fputc('\n', stderr); exit(2);
}

/* ---- log-linear latency histogram: 64 buckets per power of two, so at most 1.6 % off ---- */
#define HN (64 * 38)
struct hist { u64 n, max; u32 b[HN]; };
static void h_add(struct hist *h, u64 v) {
    u64 i = v; if (v >= 64) { int s = 63 - __builtin_clzll(v) - 6; i = (s + 1) * 64 + ((v >> s) & 63); }
    h->b[i < HN ? i : HN - 1]++; h->n++; if (v > h->max) h->max = v;
}
static double h_ms(const struct hist *h, double q) { /* the q-quantile in milliseconds */
    u64 want = (u64)(q * h->n + .999999), c = 0;
    if (!h->n) return 0;
    for (u64 i = 0; i < HN; i++) if ((c += h->b[i]) >= want && h->b[i]) {
        double v = i < 64 ? i : (double)((64 + i % 64) * 2 + 1) / 2 * (1ull << (i / 64 - 1));
        return (v > h->max ? h->max : v) / 1e6;
    }
    return h->max / 1e6;
}

/* ---- shared memory ---- */
struct wstat {
    _Atomic int done; /* last phase this worker has finished */
    _Atomic u64 ready, failed, lastready, sent, recv, gaps, back, other, units, results, dropped;
    struct hist login, lat, slip, ack;
} __attribute__((aligned(128)));
struct scram { int iter, fresh; char salt[68]; unsigned char key[20]; };
static struct shared { _Atomic int phase; _Atomic u64 m0, m1; struct wstat w[MAXP]; struct scram sc[]; } *sh;

/* ---- connections ---- */
enum { ST_NEW, ST_CONNECT, ST_TLS, ST_FEATURES, ST_PROCEED, ST_AUTH, ST_BIND, ST_SESSION, ST_SM, ST_ROSTER, ST_REG,
    ST_READY, ST_CLOSING, ST_DEAD };
struct auth { char bare[160], msg[1400], sig[64]; };
typedef struct conn {
    int fd, idx, k, st, depth, authed, polling_out, dirty, smon, busy, joined;
    u32 h, txn, tx, rx, *rxv, left; /* rxv: next sequence number expected from each sender (muc, presence) */
    u32 ackn; u64 ackt; /* the request whose ack is timed: stanzas sent until then, and when (0: none) */
    SSL *ssl; struct auth *au; struct conn *next; u64 t0;
    char *in, *out, jid[160]; size_t inlen, incap, scan, outlen, outpos, outcap;
} conn;
struct room { conn *c; char jid[128]; int created, njoined, nextjoin; u32 m; uint16_t rem[RING]; };

static conn *C; static int n, ep, wi, curph, started, active, outstanding, rr, dance, subs;
static struct room *R; static int nrooms;
static struct wstat *W; static conn *dirty; static SSL_CTX *ctx;
static u64 now, next_send, drain_end, settle; static char *pad; static unsigned runid;

static void conn_dead(conn *c, const char *why);
static void ready(conn *c);
static void on_stanza(conn *c, const char *s, size_t len);

static void flush(conn *c) {
    while (c->outpos < c->outlen) {
        ssize_t r = c->ssl ? SSL_write(c->ssl, c->out + c->outpos, c->outlen - c->outpos)
                           : send(c->fd, c->out + c->outpos, c->outlen - c->outpos, MSG_NOSIGNAL);
        if (r > 0) { c->outpos += r; continue; }
        int e = c->ssl ? SSL_get_error(c->ssl, r) : 0;
        if (c->ssl ? (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) : (errno != EAGAIN)) return conn_dead(c, "write error");
        if (!c->polling_out) { epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){ EPOLLIN | EPOLLOUT, { c } }); c->polling_out = 1; }
        return;
    }
    c->outpos = c->outlen = 0;
    if (c->outcap > 8192) { free(c->out); c->out = NULL; c->outcap = 0; }
    if (c->polling_out) { epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){ EPOLLIN, { c } }); c->polling_out = 0; }
}
static void put(conn *c, const char *fmt, ...) { /* queue; written at the end of this loop turn */
    va_list a; if (c->st == ST_DEAD) return;
    for (size_t need = 512;; ) {
        if (c->outcap - c->outlen < need) { c->outcap = c->outlen + need + 512; c->out = realloc(c->out, c->outcap); }
        va_start(a, fmt); size_t r = vsnprintf(c->out + c->outlen, c->outcap - c->outlen, fmt, a); va_end(a);
        if (r < c->outcap - c->outlen) { c->outlen += r; break; }
        need = r + 1;
    }
    if (o.nocoalesce && c->st == ST_READY) { flush(c); return; }
    if (!c->dirty) { c->dirty = 1; c->next = dirty; dirty = c; }
}
static void stanza_sent(conn *c) { /* at most one request of a connection is timed: the next one after its ack */
    if (!c->smon) return;
    c->txn++;
    if (!o.smreq || c->txn % o.smreq) return;
    put(c, "<r xmlns='urn:xmpp:sm:3'/>");
    if (!c->ackt) { c->ackt = mono(); c->ackn = c->txn; }
}
static void open_stream(conn *c) {
    c->depth = 0; c->st = ST_FEATURES;
    put(c, "%s<stream:stream to='%s' version='1.0' xmlns='jabber:client' "
           "xmlns:stream='http://etherx.jabber.org/streams'>", o.nodecl ? "" : "<?xml version='1.0'?>", o.domain);
}
static void conn_dead(conn *c, const char *why) {
    if (c->st == ST_DEAD) return;
    if (c->st < ST_READY) { W->failed++; active--; if (o.verbose || W->failed < 4) fprintf(stderr, "xmppload: user %d failed: %s (state %d)\n", c->idx, why, c->st); }
    else if (c->st == ST_READY) { W->dropped++; if (W->dropped < 4) fprintf(stderr, "xmppload: user %d dropped: %s\n", c->idx, why); }
    c->st = ST_DEAD;
    if (c->ssl) { SSL_free(c->ssl); c->ssl = NULL; ERR_clear_error(); }
    close(c->fd); free(c->au); free(c->out); c->au = NULL; c->out = NULL; c->outlen = c->outcap = c->outpos = 0;
}
static void start_conn(conn *c) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(o.port) }; int one = 1;
    inet_pton(AF_INET, o.host, &a.sin_addr);
    c->t0 = mono(); c->st = ST_CONNECT; active++;
    if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0) die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){ EPOLLIN | EPOLLOUT, { c } }); c->polling_out = 1;
    if (connect(c->fd, (void *)&a, sizeof a) && errno != EINPROGRESS) conn_dead(c, strerror(errno));
}
static void tls_step(conn *c) {
    if (!c->ssl) { c->ssl = SSL_new(ctx); SSL_set_fd(c->ssl, c->fd); SSL_set_tlsext_host_name(c->ssl, o.domain); c->st = ST_TLS; }
    int r = SSL_connect(c->ssl);
    if (r == 1) { open_stream(c); return; }
    r = SSL_get_error(c->ssl, r);
    if (r != SSL_ERROR_WANT_READ && r != SSL_ERROR_WANT_WRITE) conn_dead(c, "TLS handshake");
}

/* ---- XML: split the stream into stanzas; attribute lookup in a start tag ---- */
static const char *attr(const char *s, size_t len, const char *name, size_t *vl) {
    const char *e = s + len; size_t nl = strlen(name); *vl = 0;
    while (s < e && *s != ' ' && *s != '>' && *s != '/' && *s != '\n') s++;
    for (;;) {
        while (s < e && (*s == ' ' || *s == '\n' || *s == '\t' || *s == '\r')) s++;
        if (s >= e || *s == '>' || *s == '/') return NULL;
        const char *k = s; while (s < e && *s != '=') s++;
        size_t kl = s - k; if (s + 1 >= e) return NULL;
        const char *v = s + 2, *q = memchr(v, s[1], e - v); if (!q) return NULL;
        if (kl == nl && !memcmp(k, name, nl)) { *vl = q - v; return v; }
        s = q + 1;
    }
}
static int has(const char *s, size_t len, const char *x) { return memmem(s, len, x, strlen(x)) != NULL; }
static int is(const char *v, size_t vl, const char *x) { return v && vl == strlen(x) && !memcmp(v, x, vl); }

static size_t parse(conn *c, const char *b, size_t len) { /* returns the number of bytes used up */
    size_t start = 0, pos = c->scan;
    while (c->st != ST_DEAD) {
        const char *lt = pos < len ? memchr(b + pos, '<', len - pos) : NULL;
        if (!lt) { pos = len; if (c->depth <= 1) start = len; break; }
        size_t t = lt - b, e = t + 1; char q = 0;
        pos = t;
        if (len - t >= 9 && !memcmp(lt, "<![CDATA[", 9)) {
            const char *x = memmem(lt, len - t, "]]>", 3); if (!x) break;
            pos = x + 3 - b; continue;
        }
        for (; e < len; e++) { char ch = b[e]; if (q) { if (ch == q) q = 0; } else if (ch == '>') break; else if (ch == '"' || ch == '\'') q = ch; }
        if (e >= len) { if (c->depth <= 1) start = t; break; }
        pos = e + 1;
        if (b[t + 1] == '?' || b[t + 1] == '!') { if (c->depth <= 1) start = pos; continue; }
        int close = b[t + 1] == '/', empty = !close && b[e - 1] == '/';
        if (c->depth == 0) { c->depth = 1; start = pos; continue; } /* stream header */
        if (c->depth == 1 && !close) start = t;
        if (close) { if (--c->depth == 0) { conn_dead(c, "stream closed by server"); return len; } }
        else if (!empty) c->depth++;
        if (c->depth == 1) { on_stanza(c, b + start, pos - start); start = pos; }
    }
    c->scan = pos - start;
    return start;
}
static void feed(conn *c, const char *p, size_t len) {
    if (c->inlen) {
        if (c->inlen + len > c->incap) c->in = realloc(c->in, c->incap = c->inlen + len + 1024);
        memcpy(c->in + c->inlen, p, len); c->inlen += len;
        size_t u = parse(c, c->in, c->inlen);
        memmove(c->in, c->in + u, c->inlen -= u);
        if (!c->inlen) { free(c->in); c->in = NULL; c->incap = 0; }
    } else {
        size_t u = parse(c, p, len);
        if (u < len) { if (c->incap < len - u) c->in = realloc(c->in, c->incap = len - u + 512); memcpy(c->in, p + u, c->inlen = len - u); }
    }
}

/* ---- SASL ---- */
static void b64(const void *p, int len, char *out) { EVP_EncodeBlock((void *)out, p, len); }
static int unb64(const char *p, int len, char *out) {
    int r = EVP_DecodeBlock((void *)out, (const void *)p, len); if (r < 0) return -1;
    while (len && p[--len] == '=') r--;
    out[r] = 0; return r;
}
static void names(const conn *c, char *u, char *p) { sprintf(u, o.userfmt, c->idx); sprintf(p, o.passfmt, c->idx); }
static void hmac(const void *k, int kl, const char *m, int ml, unsigned char *out) { HMAC(EVP_sha1(), k, kl, (const void *)m, ml, out, NULL); }
static void auth_start(conn *c, const char *s, size_t len) {
    char u[128], p[128], raw[320], e[480]; int l; names(c, u, p);
    int plain = !strcmp(o.mech, "PLAIN") || (!strcmp(o.mech, "auto") && !has(s, len, ">SCRAM-SHA-1<"));
    if (plain) { l = sprintf(raw, "%c%s%c%s", 0, u, 0, p); b64(raw, l, e); }
    else {
        unsigned char rnd[18]; char nonce[25]; RAND_bytes(rnd, 18); b64(rnd, 18, nonce);
        c->au = calloc(1, sizeof *c->au); sprintf(c->au->bare, "n=%s,r=%s", u, nonce);
        l = sprintf(raw, "n,,%s", c->au->bare); b64(raw, l, e);
    }
    c->st = ST_AUTH;
    put(c, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%s'>%s</auth>", plain ? "PLAIN" : "SCRAM-SHA-1", e);
}
static const char *text(const char *s, size_t len, size_t *tl) {
    const char *a = memchr(s, '>', len), *z = a ? memchr(a, '<', s + len - a) : NULL;
    *tl = z ? z - a - 1 : 0; return z ? a + 1 : NULL;
}
static void auth_challenge(conn *c, const char *s, size_t len) {
    size_t tl; const char *t = text(s, len, &tl); char sf[512], nonce[256], salt[68], raw[64], u[128], p[128], fin[400], b[64], e[600]; int it;
    if (!c->au || !t || tl > 640 || unb64(t, tl, sf) < 0 || sscanf(sf, "r=%255[^,],s=%67[^,],i=%d", nonce, salt, &it) != 3) return conn_dead(c, "bad SCRAM challenge");
    struct scram *sc = &sh->sc[c->idx - o.first]; names(c, u, p);
    if (sc->iter != it || strcmp(sc->salt, salt)) { /* the slow part is remembered, also between runs with --scram-cache */
        int sl = unb64(salt, strlen(salt), raw);
        PKCS5_PBKDF2_HMAC_SHA1(p, strlen(p), (void *)raw, sl, it, 20, sc->key); sc->iter = it; sc->fresh = 1; strcpy(sc->salt, salt);
    }
    unsigned char ck[20], sk[20], sig[20]; struct auth *au = c->au;
    int fl = sprintf(fin, "c=biws,r=%s", nonce), ml = snprintf(au->msg, sizeof au->msg, "%s,%s,%s", au->bare, sf, fin);
    hmac(sc->key, 20, "Client Key", 10, ck); EVP_Digest(ck, 20, sk, NULL, EVP_sha1(), NULL);
    hmac(sk, 20, au->msg, ml, sig); for (int i = 0; i < 20; i++) ck[i] ^= sig[i];
    hmac(sc->key, 20, "Server Key", 10, sk); hmac(sk, 20, au->msg, ml, sig); b64(sig, 20, au->sig);
    b64(ck, 20, b); fl += sprintf(fin + fl, ",p=%s", b); b64(fin, fl, e);
    put(c, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", e);
}

/* ---- sending ---- */
static char *body(char *b, u32 a, u32 s, u32 x, u64 ts) { /* XL:sender:seq:extra:ns: padded to o.body bytes */
    int l = sprintf(b, "XL:%u:%u:%u:%llu:", a, s, x, (unsigned long long)ts);
    if (l < o.body) { memcpy(b + l, pad, o.body - l); l = o.body; }
    b[l] = 0; return b;
}
static char *bbuf;
static void chat_send(conn *c, u64 ts) {
    conn *p = c + (c->k % 2 ? -1 : 1); const char *sl = strchr(p->jid, '/');
    put(c, "<message to='%.*s' type='chat' id='%x-%x'><body>%s</body></message>", o.bare && sl ? (int)(sl - p->jid) : 160, p->jid,
        c->idx, c->tx, body(bbuf, c->idx, c->tx, 0, ts));
    c->tx++; W->sent++; stanza_sent(c);
}
static void room_send(struct room *r, u64 ts) {
    conn *c = r->c + r->m % (o.senders ? o.senders : o.occ);
    put(c, "<message to='%s' type='groupchat' id='%x'><body>%s</body></message>", r->jid, r->m, body(bbuf, c->k, c->tx, r->m, ts));
    r->rem[r->m % RING] = o.occ; c->tx++; r->m++; W->sent++; stanza_sent(c);
}
static void pres_send(void) {
    for (int i = 0; i < n; i++) {
        conn *c = &C[rr++ % n]; if (c->left || c->st != ST_READY) continue;
        put(c, "<presence><status>%s</status></presence>", body(bbuf, c->k, c->tx++, 0, mono()));
        c->left = o.friends; W->sent++; outstanding++; stanza_sent(c); return;
    }
}
static void mam_send(void) {
    for (int i = 0; i < n; i++) {
        conn *c = &C[rr++ % n]; if (c->busy || c->st != ST_READY) continue;
        put(c, "<iq type='set' id='m%x'><query xmlns='urn:xmpp:mam:2' queryid='q'><set xmlns='http://jabber.org/protocol/rsm'>"
               "<max>%d</max><before/></set></query></iq>", c->tx++, o.mammax);
        c->busy = 1; c->t0 = mono(); outstanding++; W->sent++; stanza_sent(c); return;
    }
}
static void join(struct room *r) {
    conn *c = r->c + r->nextjoin++; outstanding++;
    put(c, "<presence to='%s/u%d'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>", r->jid, c->idx);
}
static void subscribe_next(void) { /* presence scenario: user i asks i+1 .. i+F/2 on the ring */
    if (dance >= n * (o.friends / 2)) return;
    conn *c = &C[dance / (o.friends / 2)], *p = &C[(c->k + 1 + dance % (o.friends / 2)) % n]; dance++;
    put(c, "<presence type='subscribe' to='%.*s'/>", (int)strcspn(p->jid, "/"), p->jid);
}

/* ---- receiving ---- */
static void record(u64 ts) {
    u64 m0 = sh->m0, m1 = sh->m1, at = o.rate > 0 ? ts : now; /* open loop: judged by the intended sending time */
    if (m0 && at >= m0 && (!m1 || at < m1)) h_add(&W->lat, now > ts ? now - ts : 0);
}
static void check(u32 *next, u32 seq) { if (seq == *next) ++*next; else if (seq > *next) { W->gaps += seq - *next; *next = seq + 1; } else W->back++; }
static int stamp(const char *s, size_t len, u64 f[4]) {
    const char *p = memmem(s, len, "XL:", 3), *e = s + len; if (!p) return 0;
    p += 3;
    for (int i = 0; i < 4; i++, p++) for (f[i] = 0; p < e && *p >= '0' && *p <= '9'; p++) f[i] = f[i] * 10 + *p - '0';
    return 1;
}
static int friend_slot(const conn *c, int k) { int d = (k - c->k + n) % n, f = o.friends / 2; return d >= 1 && d <= f ? d - 1 : n - d <= f ? f + n - d - 1 : -1; }
static void on_message(conn *c, const char *s, size_t len) {
    u64 f[4]; size_t vl; const char *v;
    if (o.scen == S_MAM && has(s, len, "urn:xmpp:mam:2")) { W->results++; return; }
    v = attr(s, len, "type", &vl);
    if (is(v, vl, "error") || !stamp(s, len, f) || (o.scen != S_CHAT && o.scen != S_MUC && o.scen != S_MAM)) { W->other++; return; }
    W->recv++;
    if (o.scen == S_MUC) {
        struct room *r = &R[c->k / o.occ]; record(f[3]);
        if (f[0] % o.occ < (u64)o.occ) check(&c->rxv[f[0] % o.occ], f[1]);
        if (--r->rem[f[2] % RING] == 0) { W->units++; if (curph == PH_RUN && o.rate <= 0) room_send(r, mono()); }
        return;
    }
    if (f[0] != (u64)(c + (c->k % 2 ? -1 : 1))->idx) { W->other++; return; }
    check(&c->rx, f[1]); record(f[3]);
    if (curph == PH_RUN && o.scen == S_CHAT && o.rate <= 0) chat_send(c, mono());
    if (curph == PH_PREP && c->tx < (u32)o.fill) chat_send(c, mono());
}
static void on_presence(conn *c, const char *s, size_t len) {
    size_t vl, fl; const char *v = attr(s, len, "type", &vl), *from = attr(s, len, "from", &fl); u64 f[4];
    if (o.scen == S_MUC && curph == PH_PREP && from && !c->joined) {
        struct room *r = &R[c->k / o.occ]; char me[200]; int ml = sprintf(me, "%s/u%d", r->jid, c->idx);
        if (is(v, vl, "error")) { if (fl >= strlen(r->jid) && !memcmp(from, r->jid, strlen(r->jid))) { fprintf(stderr, "xmppload: join failed: %.*s\n", (int)len, s); W->failed++; c->joined = 1; r->njoined++; outstanding--; } }
        else if (!v && (int)fl == ml && !memcmp(from, me, ml)) {
            c->joined = 1; r->njoined++; outstanding--;
            if (c == r->c) put(c, "<iq type='set' id='cfg' to='%s'><query xmlns='http://jabber.org/protocol/muc#owner'>"
                                  "<x xmlns='jabber:x:data' type='submit'/></query></iq>", r->jid);
        }
    } else if (o.scen == S_PRESENCE && from) {
        const char *at = memchr(from, '@', fl), *d = at; int k = 0;
        if (d) { while (d > from && d[-1] >= '0' && d[-1] <= '9') d--; k = atoi(d) - C[0].idx; }
        int slot = at && k >= 0 && k < n ? friend_slot(c, k) : -1;
        if (is(v, vl, "subscribe") && slot >= 0) {
            put(c, "<presence type='subscribed' to='%.*s'/>", (int)(fl), from);
            if (slot >= o.friends / 2) put(c, "<presence type='subscribe' to='%.*s'/>", (int)(fl), from);
        } else if (is(v, vl, "subscribed") && slot >= 0) { if (++subs % 2 == 0) subscribe_next(); }
        else if (!v && slot >= 0 && stamp(s, len, f)) {
            W->recv++; record(f[3]); check(&c->rxv[slot], f[1]);
            if (--C[k].left == 0) { outstanding--; W->units++; if (curph == PH_RUN) pres_send(); }
        } else W->other++;
        return;
    }
    W->other++;
}
static void next_step(conn *c) { /* after bind: what is still asked for, then ready */
    if (c->st < ST_SESSION && o.session) { c->st = ST_SESSION; put(c, "<iq type='set' id='ses'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"); }
    else if (c->st < ST_SM && o.sm) { c->st = ST_SM; put(c, "<enable xmlns='urn:xmpp:sm:3'/>"); }
    else if (c->st < ST_ROSTER && o.roster) { c->st = ST_ROSTER; c->txn += c->smon; put(c, "<iq type='get' id='ros'><query xmlns='jabber:iq:roster'/></iq>"); }
    else { if (o.presence) { c->txn += c->smon; put(c, "<presence/>"); } ready(c); }
}
static void on_ack(conn *c, const char *s, size_t len) { /* from the request with a message to the ack that covers it */
    size_t hl; const char *h = attr(s, len, "h", &hl); u64 t = mono();
    if (!c->ackt || !h || (int)((u32)strtoul(h, NULL, 10) - c->ackn) < 0) return;
    if (sh->m0 && c->ackt >= sh->m0 && (!sh->m1 || c->ackt < sh->m1)) h_add(&W->ack, t - c->ackt);
    c->ackt = 0;
}
static void on_iq(conn *c, const char *s, size_t len) {
    size_t tl, il, fl, vl; const char *t = attr(s, len, "type", &tl), *id = attr(s, len, "id", &il), *from = attr(s, len, "from", &fl), *v;
    int ok = is(t, tl, "result");
    if (is(t, tl, "get") || is(t, tl, "set")) {
        char to[256] = ""; if (from) snprintf(to, sizeof to, " to='%.*s'", (int)fl, from);
        if (has(s, len, "urn:xmpp:ping") || is(t, tl, "set")) put(c, "<iq type='result' id='%.*s'%s/>", (int)il, id ? id : "", to);
        else put(c, "<iq type='error' id='%.*s'%s><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", (int)il, id ? id : "", to);
        W->other++; return;
    }
    if (c->st == ST_BIND && is(id, il, "bind")) {
        const char *j = memmem(s, len, "jid>", 4), *z = j ? memchr(j, '<', s + len - j) : NULL;
        if (!ok || !z) return conn_dead(c, "bind refused");
        snprintf(c->jid, sizeof c->jid, "%.*s", (int)(z - j - 4), j + 4); next_step(c);
    } else if ((c->st == ST_SESSION && is(id, il, "ses")) || (c->st == ST_ROSTER && is(id, il, "ros"))) next_step(c);
    else if (c->st == ST_REG && is(id, il, "reg")) {
        if (!ok && has(s, len, "conflict")) W->other++; else if (!ok) return conn_dead(c, "registration refused");
        ready(c);
    } else if (o.scen == S_MUC && is(id, il, "cfg")) R[c->k / o.occ].created = 1;
    else if (o.scen == S_MAM && id && *id == 'm' && c->busy) {
        v = attr(s, len, "type", &vl); if (!is(v, vl, "result")) W->gaps++;
        c->busy = 0; outstanding--; W->recv++; W->units++; record(c->t0); if (curph == PH_RUN) mam_send();
    } else W->other++;
}
static void ready(conn *c) {
    u64 t = mono(); c->st = ST_READY; active--; h_add(&W->login, t - c->t0); W->ready++; W->lastready = t;
    free(c->au); c->au = NULL;
    if (o.scen == S_REGISTER) { put(c, "</stream:stream>"); flush(c); if (c->st == ST_READY) { c->st = ST_CLOSING; conn_dead(c, ""); } }
}
static void on_features(conn *c, const char *s, size_t len) {
    char u[128], p[128]; names(c, u, p);
    if (o.tls == 1 && !c->ssl) { if (!has(s, len, "urn:ietf:params:xml:ns:xmpp-tls")) return conn_dead(c, "no STARTTLS offered"); c->st = ST_PROCEED; put(c, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); }
    else if (o.scen == S_REGISTER) { c->st = ST_REG; put(c, "<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>%s</username><password>%s</password></query></iq>", u, p); }
    else if (!c->authed) auth_start(c, s, len);
    else { c->st = ST_BIND; put(c, "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s</resource></bind></iq>", o.resource); }
}
static void on_stanza(conn *c, const char *s, size_t len) {
    size_t l = 1; while (l < len && s[l] != ' ' && s[l] != '>' && s[l] != '/' && s[l] != '\n') l++;
    const char *q = s + 1, *colon = memchr(q, ':', --l); /* any prefix: some servers write ns0: */
    if (colon) { l -= colon + 1 - q; q = colon + 1; }
#define E(x) (l == sizeof(x) - 1 && !memcmp(q, x, l))
    if (o.verbose > 1) fprintf(stderr, "[%d] %.*s\n", c->idx, (int)len, s);
    if (E("message")) { c->h++; on_message(c, s, len); }
    else if (E("presence")) { c->h++; on_presence(c, s, len); }
    else if (E("iq")) { c->h++; on_iq(c, s, len); }
    else if (E("r")) put(c, "<a xmlns='urn:xmpp:sm:3' h='%u'/>", c->h);
    else if (E("a")) on_ack(c, s, len);
    else if (E("features")) { if (c->st == ST_FEATURES) on_features(c, s, len); }
    else if (E("error")) { fprintf(stderr, "xmppload: %.*s\n", (int)(len > 300 ? 300 : len), s); conn_dead(c, "stream error"); }
    else if (E("proceed") && c->st == ST_PROCEED) tls_step(c);
    else if (E("challenge") && c->st == ST_AUTH) auth_challenge(c, s, len);
    else if (E("success") && c->st == ST_AUTH) {
        size_t tl; const char *t = text(s, len, &tl); char v[800] = "";
        if (c->au && (!t || tl > 1000 || unb64(t, tl, v) < 0 || strncmp(v, "v=", 2) || strncmp(v + 2, c->au->sig, strlen(c->au->sig)))) return conn_dead(c, "server signature wrong");
        c->authed = 1; open_stream(c);
    } else if (E("enabled") || E("failed")) { if (c->st == ST_SM) { c->h = 0; c->smon = E("enabled"); next_step(c); } }
    else if (E("failure")) conn_dead(c, "authentication or TLS refused");
    else W->other++;
}

/* ---- worker ---- */
static void on_event(conn *c, u32 ev) {
    static char buf[262144];
    if (c->st == ST_DEAD) return;
    if (c->st == ST_CONNECT) {
        int e = 0; socklen_t l = sizeof e; getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &l);
        if (e) return conn_dead(c, strerror(e));
        if (!(ev & EPOLLOUT)) return;
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){ EPOLLIN, { c } }); c->polling_out = 0;
        if (o.tls == 2) tls_step(c); else open_stream(c);
        return;
    }
    if (c->st == ST_TLS) { tls_step(c); if (c->st == ST_TLS) return; }
    if (ev & EPOLLOUT) flush(c);
    while (c->st != ST_DEAD) {
        SSL *ssl = c->ssl;
        ssize_t r = ssl ? SSL_read(ssl, buf, sizeof buf) : recv(c->fd, buf, sizeof buf, 0);
        if (r <= 0) {
            int e = ssl ? SSL_get_error(ssl, r) : 0;
            if (ssl ? (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) : (r < 0 && errno == EAGAIN)) return;
            return conn_dead(c, "connection closed");
        }
        now = mono(); feed(c, buf, r);
        if (!c->ssl || c->st == ST_TLS) return; /* plain: level-triggered, one read a turn */
    }
}
static void enter(int ph) {
    curph = ph; outstanding = ph == PH_DRAIN ? outstanding : 0; settle = now = mono();
    if (ph == PH_PREP && o.scen == S_MUC) for (int i = 0; i < nrooms; i++) join(&R[i]);
    if (ph == PH_PREP && o.scen == S_MAM) for (int i = 0; i < n; i++) for (int w = 0; w < (o.window + 1) / 2 && w < o.fill; w++) chat_send(&C[i], now);
    if (ph == PH_PREP && o.scen == S_PRESENCE && !o.preloaded) for (int i = 0; i < o.conc; i++) subscribe_next();
    if (ph == PH_RUN) {
        next_send = now;
        if (o.scen == S_MAM) for (int i = 0; i < o.conc / o.procs || !i; i++) mam_send();
        if (o.scen == S_PRESENCE) for (int i = 0; i < o.window / o.procs || !i; i++) pres_send();
        if (o.rate <= 0 && o.scen == S_CHAT) for (int w = 0; w < o.window; w++) for (int i = w & 1; i < n; i += 2) chat_send(&C[i], mono());
        if (o.rate <= 0 && o.scen == S_MUC) for (int i = 0; i < nrooms; i++) for (int w = 0; w < o.window; w++) room_send(&R[i], mono());
    }
    if (ph == PH_DRAIN) drain_end = now + o.drain * 1e9;
    if (ph == PH_LOGOUT) { drain_end = now + 5000000000ull; for (int i = 0; i < n; i++) if (C[i].st == ST_READY) { put(&C[i], "</stream:stream>"); C[i].st = ST_CLOSING; } }
}
static int tick(void) { /* start what is due; true when this phase is finished */
    now = mono();
    if (curph == PH_LOGIN) {
        while (active < (o.conc + o.procs - 1) / o.procs && started < n) start_conn(&C[started++]);
        return started == n && !active;
    }
    if (curph == PH_PREP && o.scen == S_MUC) {
        int all = 1;
        for (int i = 0; i < nrooms; i++) {
            while (R[i].created && R[i].nextjoin < o.occ && outstanding < o.conc) join(&R[i]);
            all &= R[i].created && R[i].njoined == o.occ;
        }
        return all;
    }
    if (curph == PH_PREP && o.scen == S_PRESENCE) { /* answers to the probes of the logins must be in: they would be counted twice */
        if (!o.preloaded && subs < n * o.friends) settle = now;
        return now > settle + 2000000000ull;
    }
    if (curph == PH_PREP && o.scen == S_MAM) { for (int i = 0; i < n; i++) if (C[i].st == ST_READY && (C[i].rx < (u32)o.fill)) return 0; return 1; }
    if (curph == PH_PREP) return 1;
    if (curph == PH_RUN && o.rate > 0 && (o.scen == S_CHAT || o.scen == S_MUC))
        for (int i = 0; now >= next_send && i < 2000; i++) {
            if (sh->m0 && !sh->m1) h_add(&W->slip, now - next_send);
            if (o.scen == S_CHAT) { conn *c = &C[rr++ % n]; if (c->st == ST_READY) chat_send(c, next_send); }
            else { room_send(&R[rr % nrooms], next_send); rr++; }
            double iv = 1e9 * o.procs / o.rate;
            next_send += o.poisson ? expo(iv) : iv;
        }
    if (curph == PH_DRAIN) {
        int fan = o.scen == S_MUC ? o.occ : o.scen == S_PRESENCE ? o.friends : 1;
        return now > drain_end || W->recv >= W->sent * fan;
    }
    if (curph == PH_LOGOUT) { for (int i = 0; i < n; i++) if (C[i].st != ST_DEAD && C[i].st != ST_NEW) return now > drain_end; return 1; }
    return 0;
}
static void worker(int w, int lo, int hi) {
    static struct epoll_event ev[512];
    prctl(PR_SET_PDEATHSIG, SIGKILL); alarm(o.maxtime + 30); signal(SIGPIPE, SIG_IGN);
    wi = w; W = &sh->w[w]; n = hi - lo; C = calloc(n + 1, sizeof *C); ep = epoll_create1(EPOLL_CLOEXEC); srand48(w + 1);
    pad = malloc(o.body + 1); memset(pad, 'x', o.body); bbuf = malloc(o.body + 100);
    for (int i = 0; i < n; i++) {
        C[i].idx = o.first + lo + i; C[i].k = i;
        if (o.scen == S_MUC) C[i].rxv = calloc(o.occ, sizeof(u32));
        if (o.scen == S_PRESENCE) C[i].rxv = calloc(o.friends, sizeof(u32));
    }
    if (o.scen == S_MUC) {
        nrooms = n / o.occ; R = calloc(nrooms + 1, sizeof *R);
        for (int i = 0; i < nrooms; i++) { R[i].c = C + i * o.occ; R[i].nextjoin = 0; sprintf(R[i].jid, "xl%ur%d@%s", runid, lo / o.occ + i, o.muc); }
    }
    if (o.tls) { ctx = SSL_CTX_new(TLS_client_method()); SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL); SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER); SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); }
    for (int fin = 0; fin != PH_LOGOUT;) {
        if (sh->phase != curph) { enter(sh->phase); fin = 0; }
        if (!fin && curph != PH_WAIT && tick()) { W->done = fin = curph; }
        while (dirty) { conn *c = dirty; dirty = c->next; c->dirty = 0; if (c->st != ST_DEAD) flush(c); }
        now = mono(); u64 to = 5000000; /* wake at least every 5 ms to see a phase change */
        if (curph == PH_RUN && o.rate > 0) to = next_send > now ? next_send - now : 0;
        if (curph == PH_RUN && o.scen == S_IDLE) to = 100000000;
        if (to > 100000000) to = 100000000;
        int k = epoll_pwait2(ep, ev, 512, &(struct timespec){ 0, to }, NULL);
        for (int i = 0; i < k; i++) on_event(ev[i].data.ptr, ev[i].events);
    }
    exit(0);
}

/* ---- coordinator: /proc sampling ---- */
struct usage { double cpu; u64 rss, pss; int procs; };
static struct usage tree(const int *roots, int nr, int mem) {
    static int pid[65536], ppid[65536]; static double cpu[65536]; static char in[65536];
    int np = 0; struct usage u = { 0 }; DIR *d = opendir("/proc"); struct dirent *e; char f[64], b[1024];
    while (d && (e = readdir(d)) && np < 65536) {
        int p = atoi(e->d_name); if (p <= 0) continue;
        snprintf(f, sizeof f, "/proc/%d/stat", p); FILE *h = fopen(f, "r"); if (!h) continue;
        size_t l = fread(b, 1, sizeof b - 1, h); b[l] = 0; fclose(h);
        char *z = strrchr(b, ')'); unsigned long ut, st; int pp;
        if (!z || sscanf(z + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &pp, &ut, &st) != 3) continue;
        pid[np] = p; ppid[np] = pp; cpu[np] = (double)(ut + st) / sysconf(_SC_CLK_TCK); in[np] = 0;
        for (int i = 0; i < nr; i++) if (roots[i] == p) in[np] = 1;
        np++;
    }
    if (d) closedir(d);
    for (int more = 1; more;) { more = 0; for (int i = 0; i < np; i++) if (!in[i]) for (int j = 0; j < np; j++) if (in[j] && pid[j] == ppid[i]) { in[i] = more = 1; break; } }
    for (int i = 0; i < np; i++) if (in[i]) {
        u.cpu += cpu[i]; u.procs++; if (!mem) continue;
        snprintf(f, sizeof f, "/proc/%d/smaps_rollup", pid[i]); FILE *h = fopen(f, "r"); if (!h) continue;
        while (fgets(b, sizeof b, h)) { u64 k; if (sscanf(b, "Rss: %lu", &k) == 1) u.rss += k * 1024; if (sscanf(b, "Pss: %lu", &k) == 1) u.pss += k * 1024; }
        fclose(h);
    }
    return u;
}
static double busy(double *steal) { /* CPU seconds of the whole machine spent not idle */
    u64 v[8] = { 0 }; FILE *h = fopen("/proc/stat", "r");
    if (h) { if (fscanf(h, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7) < 8) v[0] = 0; fclose(h); }
    double hz = sysconf(_SC_CLK_TCK); *steal = v[7] / hz; return (v[0] + v[1] + v[2] + v[5] + v[6]) / hz;
}
static int wpid[MAXP];
struct snap { u64 t, recv, sent, units, results; struct usage srv, bes, gen; double busy, steal; };
static struct snap snap(void) {
    struct snap s = { .t = mono() };
    for (int i = 0; i < o.procs; i++) { struct wstat *w = &sh->w[i]; s.recv += w->recv; s.sent += w->sent; s.units += w->units; s.results += w->results; }
    s.srv = tree(o.pids, o.npid, 0); s.bes = tree(o.bes, o.nbes, 0); s.gen = tree(wpid, o.procs, 0); s.busy = busy(&s.steal); return s;
}
static u64 total(size_t off) { u64 t = 0; for (int i = 0; i < o.procs; i++) t += *(_Atomic u64 *)((char *)&sh->w[i] + off); return t; }
#define SUM(f) total(offsetof(struct wstat, f))
static void merge(struct hist *d, size_t off) {
    memset(d, 0, sizeof *d);
    for (int i = 0; i < o.procs; i++) { struct hist *h = (void *)((char *)&sh->w[i] + off); d->n += h->n; if (h->max > d->max) d->max = h->max; for (int j = 0; j < HN; j++) d->b[j] += h->b[j]; }
}
static int run_phase(int ph, double limit) { /* true when every worker finished it in time */
    u64 end = mono() + limit * 1e9; sh->phase = ph;
    for (;;) {
        int all = 1; for (int i = 0; i < o.procs; i++) all &= sh->w[i].done >= ph;
        if (all) return 1;
        if (mono() > end) { fprintf(stderr, "xmppload: phase %d not finished in %.0f s\n", ph, limit); return 0; }
        for (int i = 0; i < o.procs && ph < PH_LOGOUT; i++) if (kill(wpid[i], 0) || waitpid(wpid[i], NULL, WNOHANG) > 0) die("a worker died");
        usleep(2000);
    }
}
static void nap(double s) { struct timespec t = { (time_t)s, (s - (time_t)s) * 1e9 }; while (nanosleep(&t, &t) && errno == EINTR) ; }

/* ---- report: one list of name/value pairs, printed both ways ---- */
static char js[16384]; static size_t jl;
static void num(const char *k, double v, int prec) {
    jl += snprintf(js + jl, sizeof js - jl, ", \"%s\": %.*f", k, prec, v); printf("  %-22s %.*f\n", k, prec, v);
}
static void lat(const char *k, const struct hist *h) {
    static const double q[] = { .5, .95, .99, .999 }; static const char *nm[] = { "p50", "p95", "p99", "p999" }; char b[64];
    for (int i = 0; i < 4; i++) { snprintf(b, sizeof b, "%s_%s_ms", k, nm[i]); num(b, h_ms(h, q[i]), 3); }
    snprintf(b, sizeof b, "%s_max_ms", k); num(b, h->max / 1e6, 3);
}
static void usage_report(const struct snap *a, const struct snap *b, double ops, const char *what) {
    double t = (b->t - a->t) / 1e9, s = b->srv.cpu - a->srv.cpu, d = b->bes.cpu - a->bes.cpu, g = b->gen.cpu - a->gen.cpu, all = b->busy - a->busy; char k[64];
    num("seconds", t, 3);
    if (o.npid) { num("server_cpu_s", s, 2); num("server_cores", s / t, 3); snprintf(k, sizeof k, "%s_per_cpu_s", what); num(k, s > 0 ? ops / s : 0, 1); }
    if (o.nbes) num("beside_cores", d / t, 3);
    num("gen_cores", g / t, 3); num("gen_max_core_share", g / t / o.procs, 3);
    num("other_cores", (all - s - d - g) / t, 3); num("steal_cores", (b->steal - a->steal) / t, 3);
}
static void calibrate(void) { /* how fast this machine is at this moment: a neighbour on the same host shows here and nowhere else */
    u64 t = mono(), x = 1, N = 1 << 20, j; struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (int i = 0; i < 20000000; i++) { x = x * 6364136223846793005ull + 1442695040888963407ull; x ^= x >> 29; }
    double cpu = (mono() - t) / 1e6; char b[160] = { (char)x };
    socklen_t l = sizeof a; int s = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), d;
    if (bind(s, (void *)&a, l) || listen(s, 1) || getsockname(s, (void *)&a, &l) || connect(c, (void *)&a, l) || (d = accept(s, 0, 0)) < 0) return;
    t = mono(); for (int i = 0; i < 10000; i++) if (send(c, b, sizeof b, 0) < 0 || recv(d, b, sizeof b, MSG_WAITALL) < 0) break;
    double tcp = (mono() - t) / 1e7; close(s); close(c); close(d);
    struct node { u64 next, fill[7]; } *m = malloc(N * sizeof *m);
    for (u64 i = 0; i < N; i++) m[i].next = i;
    for (u64 i = N - 1; i > 0; i--) { x = x * 6364136223846793005ull + 1442695040888963407ull; j = (x >> 33) % i; u64 y = m[i].next; m[i].next = m[j].next; m[j].next = y; }
    t = mono(); j = 0; for (int i = 0; i < 500000; i++) j = m[j].next;
    double mem = (mono() - t) / 5e5 + (j == N ? 1 : 0); free(m);
    num("calib_cpu_ms", cpu, 1); num("calib_tcp_us", tcp, 3); num("calib_mem_ns", mem, 1);
}
static void cache_io(int save) {
    char ln[512], u[128], salt[68], hex[41]; int idx, it; FILE *f = o.cache ? fopen(o.cache, save ? "a" : "r") : NULL; if (!f) return;
    if (save) for (int i = 0; i < o.users; i++) {
        struct scram *s = &sh->sc[i]; if (!s->fresh) continue; /* appended; of two lines for a user the later one counts */
        for (int j = 0; j < 20; j++) sprintf(hex + 2 * j, "%02x", s->key[j]);
        sprintf(u, o.passfmt, o.first + i); fprintf(f, "%d %d %s %s %s\n", o.first + i, s->iter, s->salt, hex, u);
    } else while (fgets(ln, sizeof ln, f)) {
        char p[128]; if (sscanf(ln, "%d %d %67s %40s %127s", &idx, &it, salt, hex, p) != 5 || idx < o.first || idx >= o.first + o.users) continue;
        sprintf(u, o.passfmt, idx); if (strcmp(u, p)) continue;
        struct scram *s = &sh->sc[idx - o.first]; s->iter = it; strcpy(s->salt, salt);
        for (int j = 0; j < 20; j++) { unsigned x; sscanf(hex + 2 * j, "%2x", &x); s->key[j] = x; }
    }
    fclose(f);
}
static void help(void) {
    puts("usage: xmppload SCENARIO [options]      (one scenario of: login idle chat muc presence mam register)\n"
"  login     log in all users; logins/s and latency        idle      log in, hold -T seconds, memory per connection\n"
"  chat      pairs, W messages bouncing per pair, or open loop with --rate\n"
"  muc       G rooms x K occupants, W group messages in flight per room, or --rate\n"
"  presence  F friends each (subscribes first unless --preloaded), W status updates in flight\n"
"  mam       each pair exchanges --fill messages each way, then C archive queries (last page) in flight\n"
"  register  in-band registration (XEP-0077) of all users; 'conflict' counts as done\n"
"server:   --host A (loopback only, 127.0.0.1)  --port P (5222)  --domain D (localhost)  --muc D (conference.DOMAIN)\n"
"users:    -n/--users N (100)  --pairs N (= 2N users)  --first I (1)  --user F (user%d)  --password F (pass%d)  --resource R (xl)\n"
"session:  --tls STARTTLS, --direct-tls (certificates are not checked)  --mech auto|PLAIN|SCRAM-SHA-1\n"
"          --session  --sm (XEP-0198 enable)  --sm-req N (ask <r/> every N stanzas)  --roster  --no-presence  --no-decl (no <?xml?>)\n"
"          --scram-cache FILE  keep PBKDF2 results between runs, so that the generator does not pay for them\n"
"load:     -c/--concurrency C handshakes, joins, queries (32)   -p/--procs N worker processes (1)   -T/--secs S measured (10)\n"
"          --warm S (2)  --drain S (5)  -W/--window N (4)  -b/--body BYTES (64)  --rate R msgs/s in all: open loop  --poisson\n"
"          --bare address bare JIDs  --no-coalesce one write per stanza  --rooms G (1)  --occupants K (50)  --senders S (all)\n"
"          --friends F (10, even)  --preloaded  --fill N (100)  --mam-max N (50)  --max-time S (600, hard stop)\n"
"measure:  --pid P[,P...] server processes: CPU and memory of them and all their descendants\n"
"          --beside P[,P...] processes whose CPU is counted apart (a database)\n"
"          --json FILE append one JSON line ('-' for stdout)   --label TEXT   -v progress, -vv every stanza\n"
"CPU:      server_cores and *_per_cpu_s cover the measured phase only; gen_max_core_share near 1 means that the generator was\n"
"          the bottleneck; other_cores is everything else on the machine (noise and kernel threads).\n"
"Exit: 0 all well, 1 something failed or messages were lost, duplicated or reordered, 2 usage or fatal.");
    exit(0);
}
int main(int argc, char **argv) {
    enum { O = 256 };
    static const struct option lo[] = { { "help", 0, 0, 'h' }, { "host", 1, 0, O }, { "port", 1, 0, O + 1 }, { "domain", 1, 0, O + 2 }, { "muc", 1, 0, O + 3 },
        { "users", 1, 0, 'n' }, { "pairs", 1, 0, O + 4 }, { "first", 1, 0, O + 5 }, { "user", 1, 0, O + 6 }, { "password", 1, 0, O + 7 }, { "resource", 1, 0, O + 8 },
        { "tls", 0, 0, O + 9 }, { "direct-tls", 0, 0, O + 10 }, { "mech", 1, 0, O + 11 }, { "session", 0, 0, O + 12 }, { "sm", 0, 0, O + 13 }, { "sm-req", 1, 0, O + 14 },
        { "roster", 0, 0, O + 15 }, { "no-presence", 0, 0, O + 16 }, { "scram-cache", 1, 0, O + 17 }, { "concurrency", 1, 0, 'c' }, { "procs", 1, 0, 'p' },
        { "secs", 1, 0, 'T' }, { "warm", 1, 0, O + 18 }, { "drain", 1, 0, O + 19 }, { "window", 1, 0, 'W' }, { "body", 1, 0, 'b' }, { "rate", 1, 0, O + 20 },
        { "poisson", 0, 0, O + 21 }, { "bare", 0, 0, O + 22 }, { "no-coalesce", 0, 0, O + 23 }, { "rooms", 1, 0, O + 24 }, { "occupants", 1, 0, O + 25 },
        { "senders", 1, 0, O + 26 }, { "friends", 1, 0, O + 27 }, { "preloaded", 0, 0, O + 28 }, { "fill", 1, 0, O + 29 }, { "mam-max", 1, 0, O + 30 },
        { "max-time", 1, 0, O + 31 }, { "pid", 1, 0, O + 32 }, { "json", 1, 0, O + 33 }, { "label", 1, 0, O + 34 }, { "no-decl", 0, 0, O + 35 }, { "beside", 1, 0, O + 36 }, { 0, 0, 0, 0 } };
    int ch;
    while ((ch = getopt_long(argc, argv, "hn:c:p:T:W:b:v", lo, NULL)) != -1) switch (ch) {
        case 'h': help(); break; case 'n': o.users = atoi(optarg); break; case 'c': o.conc = atoi(optarg); break; case 'p': o.procs = atoi(optarg); break;
        case 'T': o.secs = atof(optarg); break; case 'W': o.window = atoi(optarg); break; case 'b': o.body = atoi(optarg); break; case 'v': o.verbose++; break;
        case O: o.host = optarg; break; case O + 1: o.port = atoi(optarg); break; case O + 2: o.domain = optarg; break; case O + 3: o.muc = optarg; break;
        case O + 4: o.users = 2 * atoi(optarg); break; case O + 5: o.first = atoi(optarg); break; case O + 6: o.userfmt = optarg; break; case O + 7: o.passfmt = optarg; break;
        case O + 8: o.resource = optarg; break; case O + 9: o.tls = 1; break; case O + 10: o.tls = 2; break; case O + 11: o.mech = optarg; break;
        case O + 12: o.session = 1; break; case O + 13: o.sm = 1; break; case O + 14: o.smreq = atoi(optarg); break; case O + 15: o.roster = 1; break;
        case O + 16: o.presence = 0; break; case O + 17: o.cache = optarg; break; case O + 18: o.warm = atof(optarg); break; case O + 19: o.drain = atof(optarg); break;
        case O + 20: o.rate = atof(optarg); break; case O + 21: o.poisson = 1; break; case O + 22: o.bare = 1; break; case O + 23: o.nocoalesce = 1; break;
        case O + 24: o.rooms = atoi(optarg); break; case O + 25: o.occ = atoi(optarg); break; case O + 26: o.senders = atoi(optarg); break;
        case O + 27: o.friends = atoi(optarg) & ~1; break; case O + 28: o.preloaded = 1; break; case O + 29: o.fill = atoi(optarg); break;
        case O + 30: o.mammax = atoi(optarg); break; case O + 31: o.maxtime = atoi(optarg); break;
        case O + 32: for (char *t = strtok(optarg, ", \n"); t && o.npid < 64; t = strtok(NULL, ", \n")) o.pids[o.npid++] = atoi(t); break;
        case O + 36: for (char *t = strtok(optarg, ", \n"); t && o.nbes < 64; t = strtok(NULL, ", \n")) o.bes[o.nbes++] = atoi(t); break;
        case O + 33: o.json = optarg; break; case O + 34: o.label = optarg; break; case O + 35: o.nodecl = 1; break; default: return 2;
    }
    if (optind != argc - 1) die("give one scenario (see --help)");
    for (o.scen = 0; o.scen < 7 && strcmp(SCEN[o.scen], argv[optind]); o.scen++) ;
    if (o.scen == 7) die("unknown scenario %s", argv[optind]);
    struct in_addr ia; if (!inet_pton(AF_INET, o.host, &ia) || (ntohl(ia.s_addr) >> 24) != 127) die("--host must be in 127.0.0.0/8");
    if (!o.muc) { char *m; if (asprintf(&m, "conference.%s", o.domain) < 0) return 2; o.muc = m; }
    if (o.scen == S_PRESENCE) o.roster = 1; /* only interested resources are told of 'subscribed' */
    int unit = o.scen == S_CHAT || o.scen == S_MAM ? 2 : 1;
    if (o.scen == S_MUC) { unit = o.occ; o.users = o.rooms * o.occ; if (o.window > RING / 2) die("window too large"); }
    o.users -= o.users % unit;
    if (o.procs < 1 || o.procs > MAXP || o.users < unit || o.users > 200000 || o.conc < 1 || o.window < 1 || o.secs > 3600) die("option out of range");
    if (o.procs > o.users / unit) o.procs = o.users / unit;
    if (o.scen == S_PRESENCE && o.friends >= o.users / o.procs) die("too many friends for that few users");
    if (o.senders > o.occ) o.senders = o.occ;
    struct rlimit rl = { o.users + 512, o.users + 512 }; if (setrlimit(RLIMIT_NOFILE, &rl)) die("cannot raise the open-file limit");
    size_t sz = sizeof *sh + sizeof(struct scram) * o.users;
    sh = mmap(NULL, sz, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); if (sh == MAP_FAILED) die("mmap");
    printf("%s%s%s: %d users, %d worker(s), %s, %s:%d\n", SCEN[o.scen], *o.label ? " " : "", o.label, o.users, o.procs, o.tls ? "TLS" : "plain", o.host, o.port);
    jl = snprintf(js, sizeof js, "{\"label\": \"%s\", \"scenario\": \"%s\", \"tls\": %d, \"sm\": %d, \"mech\": \"%s\"", o.label, SCEN[o.scen], o.tls, o.sm, o.mech);
    calibrate(); cache_io(0); runid = (unsigned)(time(NULL) % 1000000) * 10 + getpid() % 10; alarm(o.maxtime);
    struct usage mem0 = tree(o.pids, o.npid, 1), mem1 = mem0, mem2 = mem0;
    if (o.npid && mem0.procs < o.npid) die("a --pid process does not exist");
    fflush(stdout);
    for (int i = 0; i < o.procs; i++) { long U = o.users / unit; if (!(wpid[i] = fork())) worker(i, U * i / o.procs * unit, U * (i + 1) / o.procs * unit); }
    num("users", o.users, 0); num("procs", o.procs, 0); num("concurrency", o.conc, 0);

    struct snap a = snap(), b; struct hist h; int ok, timed = o.scen != S_LOGIN && o.scen != S_REGISTER;
    ok = run_phase(PH_LOGIN, o.maxtime * .8); b = snap();
    u64 last = 0; for (int i = 0; i < o.procs; i++) if (sh->w[i].lastready > last) last = sh->w[i].lastready;
    double lt = last > a.t ? (last - a.t) / 1e9 : 0; merge(&h, offsetof(struct wstat, login));
    num("ready", SUM(ready), 0); num("failed", SUM(failed), 0);
    num("logins_per_s", lt > 0 ? SUM(ready) / lt : 0, 1); lat("login", &h);
    if (!timed) usage_report(&a, &b, SUM(ready), "logins");
    if (SUM(failed)) ok = 0;
    if (timed && SUM(ready)) {
        if (o.scen == S_IDLE) {
            a = snap(); sh->phase = PH_RUN; nap(1); mem1 = tree(o.pids, o.npid, 1); nap(o.secs); mem2 = tree(o.pids, o.npid, 1); b = snap();
            num("rss_before", mem0.rss, 0); num("rss_up", mem1.rss, 0); num("rss_held", mem2.rss, 0); num("pss_before", mem0.pss, 0); num("pss_held", mem2.pss, 0);
            num("bytes_per_conn_up", ((double)mem1.pss - mem0.pss) / SUM(ready), 0); num("bytes_per_conn_held", ((double)mem2.pss - mem0.pss) / SUM(ready), 0);
            usage_report(&a, &b, 0, "nothing");
        } else {
            u64 t0 = mono(); int prep = run_phase(PH_PREP, o.maxtime * .4); num("prep_s", (mono() - t0) / 1e9, 2); ok &= prep;
            u64 r0 = SUM(recv), s0 = SUM(sent), x0 = SUM(results);
            sh->phase = PH_RUN; nap(o.warm); a = snap(); sh->m0 = mono(); nap(o.secs); sh->m1 = mono(); b = snap();
            ok &= run_phase(PH_DRAIN, o.drain + 5); merge(&h, offsetof(struct wstat, lat));
            double t = (b.t - a.t) / 1e9, fan = o.scen == S_MUC ? o.occ : o.scen == S_PRESENCE ? o.friends : 1, lost = (SUM(sent) - s0) * fan - (SUM(recv) - r0);
            const char *unit = o.scen == S_MAM ? "queries" : "deliveries"; char k[64];
            if (o.scen == S_MUC) { num("rooms", o.rooms, 0); num("occupants", o.occ, 0); }
            if (o.scen == S_PRESENCE) num("friends", o.friends, 0);
            if (o.scen == S_MAM) { num("fill", o.fill, 0); num("results_per_query", (double)(SUM(results) - x0) / (SUM(recv) - r0), 2); num("results_per_s", (b.results - a.results) / t, 1); }
            num("window", o.window, 0); num("body", o.body, 0); num("rate", o.rate, 0); num("sent_per_s", (b.sent - a.sent) / t, 1);
            snprintf(k, sizeof k, "%s_per_s", unit); num(k, (b.recv - a.recv) / t, 1); lat("lat", &h);
            num("lost", lost, 0); num("gaps", SUM(gaps), 0); num("backward", SUM(back), 0); num("dropped_conns", SUM(dropped), 0);
            if (o.scen == S_CHAT && o.sm && o.smreq) { struct hist ak; merge(&ak, offsetof(struct wstat, ack)); num("acks", ak.n, 0); lat("ack", &ak); }
            if (o.rate > 0) { struct hist sl; merge(&sl, offsetof(struct wstat, slip)); num("slip_p99_ms", h_ms(&sl, .99), 3); num("slip_max_ms", sl.max / 1e6, 3); }
            usage_report(&a, &b, b.recv - a.recv, unit);
            if (lost || SUM(gaps) || SUM(back)) ok = 0;
        }
    }
    num("other_stanzas", SUM(other), 0); num("ok", ok && !SUM(dropped), 0);
    run_phase(PH_LOGOUT, 8); cache_io(1);
    for (int i = 0; i < o.procs; i++) { kill(wpid[i], SIGTERM); waitpid(wpid[i], NULL, 0); }
    if (o.json) { FILE *f = strcmp(o.json, "-") ? fopen(o.json, "a") : stdout; if (f) fprintf(f, "%s}\n", js); }
    return !(ok && !SUM(dropped));
}
