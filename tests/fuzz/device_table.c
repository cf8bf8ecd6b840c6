// SPDX-License-Identifier: BSD-2-Clause
//
// What the device fuzzers know of each device: how it is made, what reaches it but by the bus, and
// what must hold of its state between two accesses. All state is the board's.
#include "tests/fuzz/device.h"

static bool pm_init(struct fuzz_board *b, unsigned kind)
{
    (void)kind;
    acpi_pm_init(&b->dev.pm, &b->host.clock, fake_line(&b->host), fake_power_sink(&b->host));
    return acpi_pm_register(&b->dev.pm, &b->host.bus);
}

static void pm_reset(struct fuzz_board *b)
{
    acpi_pm_reset(&b->dev.pm);
}

static void pm_act(struct fuzz_board *b, uint8_t what)
{
    (void)what;
    acpi_pm_power_button(&b->dev.pm);
}

static void pm_check(const struct fuzz_board *b)
{
    require(b->host.level == ((b->dev.pm.status & b->dev.pm.enable) != 0));
}

static bool debugcon_start(struct fuzz_board *b, unsigned kind)
{
    (void)kind;
    debugcon_init(&b->dev.debugcon, fake_stream(&b->host));
    return debugcon_register(&b->dev.debugcon, &b->host.bus);
}

// It has no state.
static void debugcon_reset(struct fuzz_board *b)
{
    require(bus_port_read(&b->host.bus, 0xE9, 1) == 0xE9);
}

// All of its lines at one end, which is high while any of them is.
static void hpet_line(void *ctx, unsigned n, bool level)
{
    struct fuzz_board *b = ctx;

    b->lines = level ? b->lines | 1u << n : b->lines & ~(1u << n);
}

static bool hpet_start(struct fuzz_board *b, unsigned kind)
{
    static const struct irq_ops ops = {.set = hpet_line};
    struct hpet_lines lines = {.replace = {&ops, b, HPET_LINE_REPLACE}};

    for (unsigned n = 0; n < HPET_LEGACY_TIMERS; n++)
        lines.isa[n] = (struct irq_line){&ops, b, n};
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        for (unsigned pin = 0; pin < HPET_PINS; pin++)
            lines.pin[n][pin] = (struct irq_line){&ops, b, HPET_LINE_PINS + n * HPET_PINS + pin};
    }
    b->lines = 0;
    hpet_init(&b->dev.hpet, &b->host.clock, &lines);
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        b->dev.hpet.timer[n].ticks.catch_up = (kind & 1) != 0;
    return hpet_register(&b->dev.hpet, &b->host.bus);
}

static void hpet_restart(struct fuzz_board *b)
{
    hpet_reset(&b->dev.hpet);
}

// A timer drives one line at most, none while it may not, and a level as its status says.
static void hpet_check(const struct fuzz_board *b)
{
    const struct hpet *hpet = &b->dev.hpet;
    bool runs = (hpet->config & 1) != 0, replaces = hpet->config == 3;
    uint32_t expected = replaces ? 1u << HPET_LINE_REPLACE : 0;

    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        const struct hpet_timer *t = &hpet->timer[n];
        unsigned route = t->config >> 9;
        bool isa = replaces && n < HPET_LEGACY_TIMERS, may = runs && (t->config & 4) != 0;
        bool level = (t->config & 2) != 0;
        require(route == 0 || (route >= 20 && route <= 23));
        require((t->config & 0x100) == 0 || (t->compare | t->period) <= UINT32_MAX);
        require(t->high == NULL || may);
        require(!level || !may || (!isa && route == 0) ||
                (t->high != NULL) == ((hpet->status >> n & 1) != 0));
        require(runs || t->due_ns == CLOCK_NEVER);
        if (t->high != NULL)
            expected |= 1u << t->high->n;
    }
    require(b->lines == expected);
    require(hpet->status < 1u << HPET_TIMERS);
}

static bool esb_init(struct fuzz_board *b, unsigned kind)
{
    struct pci_host *pci = &b->dev.watchdog.pci;
    struct i6300esb *esb = &b->dev.watchdog.esb;

    pci_host_init(pci, fake_power_sink(&b->host));
    i6300esb_init(esb, &b->host.clock, fake_power_sink(&b->host), (kind & 1) != 0,
                  (kind & 2) != 0 ? NS_PER_SEC : 0);
    return pci_host_register(pci, &b->host.bus) &&
           pci_host_plug(pci, 29, &esb->pci, &b->host.bus);
}

static void esb_reset(struct fuzz_board *b)
{
    pci_host_reset(&b->dev.watchdog.pci);
    i6300esb_reset(&b->dev.watchdog.esb);
}

// The unlocking sequence, a pause and its end, or one of its registers is selected.
static void esb_act(struct fuzz_board *b, uint8_t what)
{
    struct i6300esb *esb = &b->dev.watchdog.esb;

    if (what < 0x40 && esb->pci.bar[0].base != 0) {
        bus_mmio_write(&b->host.bus, esb->pci.bar[0].base + 0x0C, 1, 0x80);
        bus_mmio_write(&b->host.bus, esb->pci.bar[0].base + 0x0C, 1, 0x86);
    } else if (what < 0x60) {
        i6300esb_hold(esb, (what & 1) != 0);
    } else {
        bus_port_write(&b->host.bus, 0xCF8, 4,
                       0x8000E800 | (what < 0xC0 ? 0u : 0x40u) | (what & 0x3C));
    }
}

// The alarm is set while a stage runs; and what the guest reads is what counts.
static void esb_check(const struct fuzz_board *b)
{
    const struct i6300esb *esb = &b->dev.watchdog.esb;
    const struct pci_bar *bar = &esb->pci.bar[0];
    bool runs = esb->stage != I6300ESB_STOPPED && !esb->held;

    require((esb->alarm.deadline_ns != CLOCK_NEVER) == runs);
    require(esb->enabled == ((esb->pci.config[0x68] & 2) != 0));
    require(esb->enabled || esb->stage == I6300ESB_STOPPED || esb->stage == I6300ESB_START);
    require(esb->preload[0] <= 0xFFFFF && esb->preload[1] <= 0xFFFFF && esb->unlocked <= 2);
    require(esb->pci.config[0] == 0x86 && esb->pci.config[0x0B] == 0x08);
    require(b->host.bus.nr_mmio == (bar->base != 0));
    require(bar->base == 0 || bar->base == pci_function_read(&esb->pci, 0x10, 4));
    require(b->host.power_offs == 0);
}

static bool kbc_init(struct fuzz_board *b, unsigned kind)
{
    (void)kind;
    i8042_init(&b->dev.kbc, fake_line(&b->host), fake_power_sink(&b->host));
    return i8042_register(&b->dev.kbc, &b->host.bus);
}

static void kbc_reset(struct fuzz_board *b)
{
    i8042_reset(&b->dev.kbc);
}

static void kbc_check(const struct fuzz_board *b)
{
    bool full = (b->dev.kbc.status & 1) != 0, enabled = (b->dev.kbc.ram[0] & 1) != 0;

    require(b->host.level == (full && enabled));
}

static bool pit_init(struct fuzz_board *b, unsigned kind)
{
    (void)kind;
    i8254_init(&b->dev.pit, &b->host.clock, fake_line(&b->host));
    return i8254_register(&b->dev.pit, &b->host.bus);
}

static void pit_reset(struct fuzz_board *b)
{
    i8254_reset(&b->dev.pit);
}

static void pit_check(const struct fuzz_board *b)
{
    for (unsigned i = 0; i < 3; i++) {
        const struct i8254_channel *ch = &b->dev.pit.ch[i];
        require(ch->mode <= 5 && ch->access >= 1 && ch->access <= 3 && ch->latched <= 2);
        require(!ch->loaded || (ch->period >= 1 && ch->period <= 65536));
        require(!ch->written || (ch->reload >= 1 && ch->reload <= 65536));
        require(!ch->running || ch->loaded);
        require(i == 2 || ch->gate);
    }
}

static bool pic_init(struct fuzz_board *b, unsigned kind)
{
    (void)kind;
    i8259_init(&b->dev.pic, fake_line(&b->host));
    return i8259_register(&b->dev.pic, &b->host.bus);
}

static void pic_reset(struct fuzz_board *b)
{
    i8259_reset(&b->dev.pic);
}

// The acknowledge cycle, also without INTR; else a pin. Pin 2 is the cascade.
static void pic_act(struct fuzz_board *b, uint8_t what)
{
    unsigned irq = what >> 1 & 15;

    if ((what & 0x60) == 0) {
        uint8_t vector = i8259_ack(&b->dev.pic);
        require((vector & ~7) == (b->dev.pic.chip[0].base & ~7) ||
                (vector & ~7) == (b->dev.pic.chip[1].base & ~7));
    } else if (irq != 2) {
        i8259_set_irq(&b->dev.pic, irq, (what & 1) != 0);
    }
}

static void pic_check(const struct fuzz_board *b)
{
    require(b->host.level == i8259_intr(&b->dev.pic));
    for (unsigned i = 0; i < 2; i++) {
        require(b->dev.pic.chip[i].icw_step <= 4);
        require(b->dev.pic.chip[i].lowest <= 7 && (b->dev.pic.chip[i].base & 7) == 0);
    }
}

// Interrupts that nobody may send: masked ones, or in another shape than the redirection says.
static bool ioapic_msi(void *ctx, uint64_t addr, uint32_t data, bool level)
{
    struct fuzz_board *b = ctx;
    bool found = false;

    b->messages++;
    require(addr >> 20 == 0xFEE && ((data & 0x8000) != 0) == level);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t redir = b->dev.ioapic.redir[pin];
        found |= (redir & 1u << 16) == 0 && (redir & 0x7FF) == (data & 0x7FF) &&
                 (redir >> 56) == (addr >> 12 & 0xFF);
    }
    require(found);
    return (b->messages & 1) != 0;
}

static bool ioapic_start(struct fuzz_board *b, unsigned kind)
{
    static const struct ioapic_ops ops = {.msi = ioapic_msi};

    (void)kind;
    ioapic_init(&b->dev.ioapic, &ops, b);
    return ioapic_register(&b->dev.ioapic, &b->host.bus);
}

static void ioapic_restart(struct fuzz_board *b)
{
    ioapic_reset(&b->dev.ioapic);
}

static void ioapic_act(struct fuzz_board *b, uint8_t what)
{
    if ((what & 0xC0) == 0)
        ioapic_eoi(&b->dev.ioapic, (uint8_t)b->dev.ioapic.redir[(what & 0x3F) % IOAPIC_PINS]);
    else
        ioapic_set_irq(&b->dev.ioapic, (what >> 1 & 0x1F) % IOAPIC_PINS, (what & 1) != 0);
}

static void ioapic_check(const struct fuzz_board *b)
{
    const uint64_t remote_irr = 1u << 14, level = 1u << 15;

    require(b->messages <= IOAPIC_PINS); // nothing sends without end
    require(b->dev.ioapic.lines >> IOAPIC_PINS == 0);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t redir = b->dev.ioapic.redir[pin];
        require((redir & 0x00FFFFFFFFFE1000ull) == 0);
        require((redir & remote_irr) == 0 || (redir & level) != 0);
    }
}

static bool rtc_init(struct fuzz_board *b, unsigned kind)
{
    static const int64_t date[] = { 0, 1700000000, 951782399, 4102444799 };

    mc146818_init(&b->dev.rtc, &b->host.clock, date[kind], fake_line(&b->host));
    return mc146818_register(&b->dev.rtc, &b->host.bus);
}

static void rtc_reset(struct fuzz_board *b)
{
    mc146818_reset(&b->dev.rtc);
}

static void rtc_check(const struct fuzz_board *b)
{
    require(b->dev.rtc.index < RTC_NVRAM_SIZE);
    require(b->host.level == ((b->dev.rtc.ram[0x0B] & b->dev.rtc.ram[0x0C] & 0x70) != 0));
}

static bool pci_init(struct fuzz_board *b, unsigned kind)
{
    (void)kind;
    pci_host_init(&b->dev.pci, fake_power_sink(&b->host));
    return pci_host_register(&b->dev.pci, &b->host.bus);
}

static void pci_reset(struct fuzz_board *b)
{
    pci_host_reset(&b->dev.pci);
}

static void pci_check(const struct fuzz_board *b)
{
    require((b->dev.pci.address & 0x7F000003) == 0);
    require(b->dev.pci.bridge.config[0] == 0x36 && b->dev.pci.bridge.config[0x0B] == 0x06);
}

static bool panic_init(struct fuzz_board *b, unsigned kind)
{
    (void)kind;
    pvpanic_init(&b->dev.panic, fake_power_sink(&b->host));
    return pvpanic_register(&b->dev.panic, &b->host.bus);
}

// It has no state.
static void panic_reset(struct fuzz_board *b)
{
    require(bus_port_read(&b->host.bus, PVPANIC_PORT, 1) == 3);
}

// It ends nothing by itself.
static void panic_check(const struct fuzz_board *b)
{
    require(b->host.resets == 0 && b->host.power_offs == 0);
}

static bool uart_init(struct fuzz_board *b, unsigned kind)
{
    uart16550_init(&b->dev.uart, &b->host.clock, fake_stream(&b->host), fake_line(&b->host),
                   (kind & 1) != 0);
    return uart16550_register(&b->dev.uart, &b->host.bus, UART_COM1);
}

static void uart_reset(struct fuzz_board *b)
{
    uart16550_reset(&b->dev.uart);
}

static void uart_act(struct fuzz_board *b, uint8_t what)
{
    memset(b->host.input, what, sizeof(b->host.input));
    b->host.input_count = what & 0x3F;
    b->host.input_taken = 0;
    uart16550_rx_poll(&b->dev.uart);
}

static void uart_check(const struct fuzz_board *b)
{
    require(b->dev.uart.rx_count <= UART_FIFO_SIZE && b->dev.uart.rx_head < UART_FIFO_SIZE);
    require(b->host.level == (b->dev.uart.causes != 0));
    require((b->dev.uart.causes & ~b->dev.uart.ier) == 0);
}

static bool vga_init(struct fuzz_board *b, unsigned kind)
{
    (void)kind;
    vga_crtc_reset(&b->dev.vga);
    return vga_crtc_register(&b->dev.vga, &b->host.bus);
}

static void vga_reset(struct fuzz_board *b)
{
    vga_crtc_reset(&b->dev.vga);
}

static void vga_check(const struct fuzz_board *b)
{
    require(b->dev.vga.dac_colour < 3 && b->dev.vga.attribute_index < 0x40);
    for (unsigned i = 0; i < 256; i++)
        require((b->dev.vga.dac[i][0] | b->dev.vga.dac[i][1] | b->dev.vga.dac[i][2]) < 0x40);
}

static bool testdev_start(struct fuzz_board *b, unsigned kind)
{
    static uint8_t ram[TESTDEV_RAM_SIZE];
    struct irq_line line[TESTDEV_LINES] = { 0 };

    line[kind * 7] = fake_line(&b->host);
    testdev_init(&b->dev.test, ram, line, fake_power_sink(&b->host));
    return testdev_register(&b->dev.test, &b->host.bus);
}

static void testdev_restart(struct fuzz_board *b)
{
    testdev_reset(&b->dev.test);
}

// The word's next letter, which chance alone hardly finds eight times over.
static void testdev_act(struct fuzz_board *b, uint8_t what)
{
    (void)what;
    bus_port_write(&b->host.bus, TESTDEV_SHUTDOWN, 1, (uint8_t)"Shutdown"[b->dev.test.letters]);
}

static void testdev_check(const struct fuzz_board *b)
{
    bool level = false;

    require(b->dev.test.letters < 8 && b->dev.test.high >> TESTDEV_LINES == 0);
    for (unsigned n = 0; n < TESTDEV_LINES; n++)
        level |= b->dev.test.line[n].ops != NULL && (b->dev.test.high >> n & 1) != 0;
    require(b->host.level == level);
    require((b->host.exits != 0) == b->dev.test.exited && b->host.resets == 0);
}

// Rates: the PIT's shortest period is 32 ticks, each of the HPET's is 27 us, each of the watchdog's
// stages 100 us; the RTC has 8,192 periodic flags a second and its update and alarm; a paced UART
// sends at most 11,520 characters, the receiver's time-outs beside.
static const struct fuzz_device devices[] = {
    { "acpi_pm", sizeof(struct acpi_pm), 10, false, true, pm_init, pm_reset, pm_act, pm_check },
    { "debugcon", sizeof(struct debugcon), 0, true, false, debugcon_start, debugcon_reset, NULL,
      NULL },
    { "hpet", sizeof(struct hpet), 112000, false, false, hpet_start, hpet_restart, NULL,
      hpet_check },
    { "i6300esb", sizeof(((struct fuzz_board *)0)->dev.watchdog), 10000, false, true, esb_init,
      esb_reset, esb_act, esb_check },
    { "i8042", sizeof(struct i8042), 0, false, true, kbc_init, kbc_reset, NULL, kbc_check },
    { "i8254", sizeof(struct i8254), 37300, false, false, pit_init, pit_reset, NULL, pit_check },
    { "i8259", sizeof(struct i8259), 0, false, false, pic_init, pic_reset, pic_act, pic_check },
    { "ioapic", sizeof(struct ioapic), 0, false, false, ioapic_start, ioapic_restart, ioapic_act,
      ioapic_check },
    { "mc146818", sizeof(struct mc146818), 8200, false, false, rtc_init, rtc_reset, NULL,
      rtc_check },
    { "pci_host", sizeof(struct pci_host), 0, false, true, pci_init, pci_reset, NULL, pci_check },
    { "pvpanic", sizeof(struct pvpanic), 0, false, true, panic_init, panic_reset, NULL,
      panic_check },
    { "testdev", sizeof(struct testdev), 0, false, true, testdev_start, testdev_restart,
      testdev_act, testdev_check },
    { "uart16550", sizeof(struct uart16550), 50000, true, false, uart_init, uart_reset, uart_act,
      uart_check },
    { "vga_crtc", sizeof(struct vga_crtc), 0, false, false, vga_init, vga_reset, NULL, vga_check },
};

const struct fuzz_device *fuzz_device_find(const char *name)
{
    for (unsigned i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        if (strcmp(devices[i].name, name) == 0)
            return &devices[i];
    }
    return NULL;
}
