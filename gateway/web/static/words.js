// Every word the page shows, Chinese first. A word the gateway says and we do not know is shown raw.

/** @typedef {'zh' | 'en'} Language */

const KEY = 'onekey.language';

/** @type {Record<string, [string, string]>} page text: [zh-CN, English] */
const PAGE = {
  title: ['一键通网关', 'One-key gateway'],
  other: ['English', '中文'],
  skip: ['跳到求助事件', 'Skip to incidents'],
  overview: ['概览', 'Overview'],
  openIncidents: ['进行中的求助', 'Open incidents'],
  noIncidents: ['现在没有人求助。', 'Nobody is asking for help right now.'],
  calls: ['通话', 'Calls'],
  noCalls: ['没有通话。', 'No calls.'],
  workers: ['话务进程', 'Workers'],
  noWorkers: ['没有话务进程。', 'No workers.'],
  agents: ['坐席', 'Agents'],
  noAgents: ['没有登记的坐席。', 'No agents are registered.'],
  agentsReady: ['{n} 人就绪，共 {all} 人', '{n} of {all} ready'],
  recentlyClosed: ['最近结案', 'Recently closed'],
  noClosed: ['还没有结案的事件。', 'Nothing has been closed yet.'],
  terminals: ['终端', 'Terminals'],
  noTerminals: ['没有这样的终端。', 'No such terminals.'],
  show: ['显示', 'Show'],
  all: ['全部', 'all'],
  terminal: ['终端编号', 'Terminal'],
  label: ['名称', 'Label'],
  kind: ['类型', 'Kind'],
  presence: ['状态', 'Presence'],
  battery: ['电量', 'Battery'],
  lastSeen: ['最后联络', 'Last seen'],
  closeTitle: ['结案', 'Close'],
  close: ['结案…', 'Close…'],
  closeNow: ['确认结案', 'Close the case'],
  back: ['返回', 'Back'],
  outcome: ['结果', 'Outcome'],
  choose: ['请选择', 'Choose'],
  note: ['备注（不写个人信息）', 'Note (no personal data)'],
  tokenTitle: ['需要访问令牌', 'An access token is needed'],
  token: ['令牌', 'Token'],
  connect: ['连接', 'Connect'],
  connecting: ['正在连接…', 'Connecting…'],
  live: ['已连接', 'Connected'],
  lost: ['未连接 · 数据停在 {at}', 'Not connected · as of {at}'],
  lostNew: ['未连接', 'Not connected'],
  retry: ['{s} 秒后重试', 'retry in {s} s'],
  waiting: ['{n} 人正在等待接听', '{n} waiting for an answer'],
  longest: [' · 最久 {t}', ' · longest {t}'],
  tileOpen: ['进行中', 'Open'],
  tileWaiting: ['最久等待', 'Longest wait'],
  tileCalls: ['通话中', 'Calls'],
  tileLegs: ['线路占用', 'Legs in use'],
  tileWorkers: ['{n} 个进程', '{n} workers'],
  tileOnline: ['在线终端', 'Terminals online'],
  tileLate: ['迟报 {late} · 离线 {offline}', '{late} late · {offline} offline'],
  nobodyWaits: ['无人等待', 'nobody waits'],
  tileWaits: ['{n} 人待接听', '{n} waiting'],
  more: ['超过 {n}，先显示最急的', 'more than {n}; the most urgent first'],
  shown: ['显示 {n} / {all}', '{n} of {all} shown'],
  earlier: ['前面还有 {n} 条', '{n} earlier lines'],
  pressed: ['按下 {at}', 'pressed {at}'],
  raised: ['报警 {at}', 'raised {at}'],
  presses: ['已按 {n} 次', 'pressed {n} times'],
  answeredBy: ['{who} 已接听，用时 {t}', 'answered by {who} after {t}'],
  carried: ['已承载 {n} 通', '{n} calls carried'],
  never: ['从未', 'never'],
  ago: ['{t}前', '{t} ago'],
  failed: ['没有成功：{why}', 'It did not work: {why}'],
  unreachable: ['网关没有应答', 'the gateway did not answer'],
};

/** @type {Record<string, Record<string, [string, string]>>} what the gateway says, by vocabulary */
const WORDS = {
  what: {
    press_received: ['收到按键，已受理', 'press received and kept'],
    press_again: ['再次按键', 'pressed again'],
    press_cancelled: ['按键已取消', 'press taken back'],
    alarm_received: ['收到报警，已受理', 'alarm received and kept'],
    alarm_again: ['再次报警', 'alarm again'],
    pressed_again: ['再次按键，加急呼叫', 'pressed again: ringing goes on'],
    late_answer: ['迟到的接听', 'answered too late'],
    agent_left: ['坐席已离开', 'agent left'],
    terminal_given_up: ['不再呼叫终端', 'terminal given up'],
    call_resumed: ['呼叫已接续', 'call resumed'],
    call_taken_over: ['重启后接管呼叫', 'call taken over after a restart'],
    call_lost: ['重启后呼叫丢失', 'call lost in a restart'],
    no_capacity: ['线路已满', 'no room for the call'],
    recording_failed: ['录音失败', 'recording failed'],
    opened: ['已受理', 'case opened'],
    acknowledged: ['已受理', 'acknowledged'],
    routed: ['已派单', 'routed'],
    target_dialled: ['正在呼叫坐席', 'dialling target'],
    target_ringing: ['坐席振铃', 'target ringing'],
    target_answered: ['坐席已接听', 'target answered'],
    target_failed: ['坐席未接通', 'target failed'],
    target_ended: ['坐席已挂断', 'target hung up'],
    terminal_dialled: ['正在呼叫终端', 'dialling terminal'],
    agent_offered: ['已分配坐席', 'offered to an agent'],
    call_back_due: ['来电已放弃，需回拨', 'the caller left; call back'],
    caller_not_arrived: ['终端来电未到', 'its call did not come'],
    caller_arrived: ['终端来电已到', 'the terminal calls'],
    terminal_ringing: ['终端振铃', 'terminal ringing'],
    terminal_answered: ['终端已接通', 'terminal answered'],
    terminal_failed: ['终端未接通', 'terminal failed'],
    terminal_dropped: ['终端掉线', 'terminal dropped'],
    terminal_ended: ['终端已挂断', 'terminal hung up'],
    terminal_told: ['已告知终端', 'terminal told'],
    bridged: ['双方通话', 'bridged: they hear each other'],
    unbridged: ['通话断开', 'bridge ended'],
    recording_started: ['开始录音', 'recording started'],
    recording_finished: ['录音完成', 'recording finished'],
    chain_exhausted: ['全部坐席无人接听', 'nobody in the chain answered'],
    alarm_raised: ['已报警值班人员', 'person on duty alarmed'],
    worker_lost: ['话务进程中断，正在重呼', 'worker lost, ringing again'],
    call_started: ['开始呼叫', 'call started'],
    call_ended: ['呼叫结束', 'call ended'],
    no_room: ['线路已满', 'no room for the call'],
    closed: ['已结案', 'closed'],
  },
  state: {
    open: ['待派单', 'open'],
    alerting: ['呼叫中', 'ringing'],
    answered: ['已接听', 'answered'],
    unanswered: ['无人接听', 'unanswered'],
    wrap_up: ['待结案', 'wrap-up'],
    closed: ['已结案', 'closed'],
  },
  kind: {
    sos: ['紧急求助', 'SOS'],
    hospital: ['挂号就医', 'Hospital'],
    taxi: ['打车', 'Taxi'],
    mobility: ['出行', 'Mobility'],
    service: ['服务', 'Service'],
    call: ['呼叫', 'Call'],
    fall: ['跌倒', 'Fall'],
    smoke: ['烟雾', 'Smoke'],
    gas: ['燃气', 'Gas'],
    water: ['漏水', 'Water leak'],
    geofence: ['离开区域', 'Left the area'],
    inactivity: ['久无活动', 'No activity'],
    heart_rate: ['心率异常', 'Heart rate'],
    low_battery: ['电量低', 'Low battery'],
    power_cut: ['断电', 'Power cut'],
    taken_off: ['已摘下', 'Taken off'],
  },
  flag: {
    delayed: ['迟到', 'delayed'],
    quarantine: ['未登记终端', 'unknown terminal'],
    training: ['演练', 'training'],
  },
  outcome: {
    helped: ['已帮助', 'helped'],
    referred: ['已转介', 'referred'],
    false_alarm: ['误报', 'false alarm'],
    cancelled: ['已取消', 'cancelled'],
    unreachable: ['联系不上', 'unreachable'],
    test: ['测试', 'test'],
    other: ['其他', 'other'],
    expired: ['超时自动结案', 'expired'],
  },
  source: {
    terminal: ['终端', 'terminal'],
    gateway: ['网关', 'gateway'],
    telephony: ['电话', 'telephony'],
    person: ['人工', 'person'],
  },
  presence: {
    online: ['在线', 'online'],
    late: ['迟报', 'late'],
    offline: ['离线', 'offline'],
    never_seen: ['从未上线', 'never seen'],
  },
  terminalKind: {
    phone: ['一键通电话机', 'phone'],
    app: ['手机应用', 'app'],
    tv: ['电视', 'TV'],
    portable: ['便携终端', 'portable'],
    kiosk: ['自助服务机', 'kiosk'],
  },
  leg: {
    dialling: ['拨号', 'dialling'],
    ringing: ['振铃', 'ringing'],
    answered: ['接通', 'answered'],
    ended: ['结束', 'ended'],
    completed: ['正常结束', 'completed'],
    busy: ['忙线', 'busy'],
    declined: ['拒接', 'declined'],
    no_answer: ['无人接听', 'no answer'],
    unreachable: ['无法接通', 'unreachable'],
    cancelled: ['已取消', 'cancelled'],
    failed: ['失败', 'failed'],
    lost: ['中断', 'lost'],
    committed: ['已受理', 'received'],
    waiting: ['继续呼叫', 'still trying'],
    closed: ['已结案', 'closed'],
    refused: ['已拒绝', 'refused'],
  },
  data: {
    rule: ['规则', 'rule'],
    flow: ['流程', 'flow'],
    code: ['代码', 'code'],
    reason: ['原因', 'reason'],
    cause: ['原因', 'cause'],
    round: ['轮次', 'round'],
    attempt: ['次数', 'attempt'],
    segments: ['段数', 'segments'],
    legs: ['路数', 'legs'],
    attempts: ['次数', 'attempts'],
    nobody_answered: ['无人接听', 'nobody answered'],
    no_route: ['没有路由', 'no route'],
    no_capacity: ['线路已满', 'no capacity'],
    flow_defect: ['流程故障', 'flow defect'],
    too_long: ['通话过长', 'too long'],
    terminal_unreachable: ['终端无法接通', 'terminal unreachable'],
    talk_s: ['通话秒数', 'talk s'],
    unanswered: ['无人接听', 'unanswered'],
    emergency: ['紧急呼叫', 'emergency'],
  },
  role: {
    terminal: ['终端', 'terminal'],
    target: ['坐席', 'target'],
  },
  flow: {
    emergency: ['紧急呼叫', 'emergency'],
  },
  phase: {
    new: ['开始', 'new'],
    opening: ['等待线路', 'waiting for room'],
    seeking: ['寻找坐席', 'ringing targets'],
    ringing: ['振铃中', 'ringing'],
    pausing: ['稍后重呼', 'pause before the next round'],
    bridged: ['通话中', 'talking'],
    talking: ['通话中', 'talking'],
    stranded: ['无人可呼', 'nobody left to ring'],
    ended: ['已结束', 'ended'],
  },
  agent: {
    offline: ['离线', 'offline'],
    ready: ['就绪', 'ready'],
    offered: ['振铃', 'ringing'],
    busy: ['通话中', 'talking'],
    wrap_up: ['话后处理', 'wrap-up'],
    paused: ['小休', 'paused'],
  },
  agentCause: {
    missed: ['未接来电', 'missed calls'],
    registration_lost: ['话机掉线', 'phone not registered'],
    disabled: ['已停用', 'disabled'],
  },
  worker: {
    starting: ['启动中', 'starting'],
    ready: ['就绪', 'ready'],
    open: ['就绪', 'ready'],
    busy: ['忙', 'busy'],
    full: ['已满', 'full'],
    clogged: ['阻塞', 'clogged'],
    draining: ['不接新呼叫', 'draining'],
    vacant: ['空', 'vacant'],
    quitting: ['退出中', 'quitting'],
    resting: ['故障后等待重启', 'resting after a failure'],
  },
};

/** @type {Language} */
let language = localStorage.getItem(KEY) === 'en' ? 'en' : 'zh';

const index = () => (language === 'en' ? 1 : 0);

/** @returns {string} a BCP 47 tag for `lang` and Intl */
export const locale = () => (language === 'en' ? 'en' : 'zh-CN');

/** Switches between Chinese and English, and remembers it. */
export function switchLanguage() {
  language = language === 'en' ? 'zh' : 'en';
  localStorage.setItem(KEY, language);
}

/**
 * @param {string} key of the page's own text
 * @param {Record<string, string | number>} [values] for `{name}`
 */
export function text(key, values = {}) {
  const found = PAGE[key];
  return found[index()].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

/**
 * @param {string} vocabulary
 * @param {string} word as the gateway says it
 */
export function word(vocabulary, word) {
  const known = WORDS[vocabulary];
  return Object.hasOwn(known, word) ? known[word][index()] : word;
}

/** @param {string} vocabulary @returns {string[]} its words in order */
export const wordsOf = (vocabulary) => Object.keys(WORDS[vocabulary]);
