// SPDX-License-Identifier: BSD-2-Clause
// The world of the manager's tests: boot information, boot modules, the console's end of line 0.
#include "tests/unit/manager_world.h"

#include "libc/time.h"
#include "tests/unit/elf_file.h"

struct manager manager;
struct boot_info boot;
struct line console_side;
char said[1 << 17];
int step;
bool (*script)(int step);

uint32_t pci_config[PCI_WORDS], ports_refused;
struct rtc rtc;

static uint32_t pci_address;
static bool attached;
static uint32_t said_len;
static uint8_t image[IMAGE_BYTES];

const char two_vms[] = "[vm one]\nimage = hello\nmemory = 8M\nshare = 25%\ncores = 1\n"
                        "cmdline = a b\nmodule = hello c  d\nmodule = ./hello\n"
                        "[vm two]\nimage = hello\nmemory = 16M\n";

const char two_cores[] = "[vm one]\nimage = hello\nmemory = 8M\nshare = 25%\n"
                         "[vm two]\nimage = hello\nmemory = 8M\ncores = 1\n";

static void add_module(const char *name, const void *bytes, uint64_t len)
{
    struct boot_module *module = &boot.module[boot.modules];
    snprintf(module->name, sizeof(module->name), "%s", name);
    module->bytes = len;
    module->handle = BOOT_HANDLE_MODULE + boot.modules++;
    fake_module(module->handle, bytes, len);
}

// Only whoever has been granted these ports gets anything.
static void need_ports(bool good, uint32_t first, uint32_t count)
{
    const struct fake_object *self = &fake.object[1];
    if (!good || self->port_first != first || self->port_count != count) {
        ports_refused++;
    }
}

static uint32_t rtc_byte(void)
{
    need_ports(true, 0x70, 2);
    if (rtc.absent) {
        return 0xff;
    }
    bool busy = rtc.updating && rtc.updating--;
    return rtc.index == 10 && busy ? 0x80u | rtc.byte[10] : rtc.byte[rtc.index % 16];
}

// Bus 0, devices 0 to 3, of which the last is all ones as any that is not there.
static uint32_t *pci_word(uint16_t port)
{
    static uint32_t nobody;
    uint32_t at = pci_address & 0x7fffffff, device = at >> 11, function = at >> 8 & 7;
    need_ports(port == 0xcfc, 0xcf8, 8);
    nobody = UINT32_MAX;
    return pci_address >> 31 && device < 3 && function < 2 && (at & 0xff) < 0x20
               ? &pci_config[(device * 2 + function) * 8 + (at & 0xff) / 4] : &nobody;
}

uint32_t fake_port_in(uint16_t port)
{
    return port == 0x71 ? rtc_byte() : *pci_word(port);
}

void fake_port_out(uint16_t port, uint32_t value)
{
    if (port == 0x70) {
        need_ports(true, 0x70, 2);
        rtc.index = (uint8_t)value;
    } else if (port == 0xcf8) {
        pci_address = value;
    } else {
        *pci_word(port) = value;
    }
}

static void ignore(void *opaque)
{
    (void)opaque;
}

void read_line0(void)
{
    if (manager.line_memory == 0) {
        return;
    }
    if (!attached) {
        struct fake_object *memory = fake_handle(manager.line_memory);
        line_attach_console(&console_side, memory->view, ignore, NULL);
        attached = true;
    }
    said_len += line_read(&console_side, said + said_len, sizeof(said) - 1 - said_len);
    said[said_len] = '\0';
}

// Answers a flush as the console would; then it is the script's turn.
static bool idle(struct fake_kernel *kernel)
{
    (void)kernel;
    read_line0();
    struct fake_object *console = fake_handle(manager.console_event);
    fake_signal(fake_handle(manager.event), MANAGER_BIT_LINE);
    if (console->bits & CONSOLE_BIT_FLUSH) {
        console->bits &= ~CONSOLE_BIT_FLUSH;
        fake_signal(fake_handle(manager.event), CONSOLE_BIT_FLUSHED);
        return true;
    }
    return script != NULL && script(step++);
}

int manager_setup(void **state)
{
    (void)state;
    static uint8_t program[ELF_FILE_BYTES];
    fake_reset();
    memset(&manager, 0, sizeof(manager));
    memset(&boot, 0, sizeof(boot));
    boot.call_insn = CALL_INSN;
    attached = false;
    memset(pci_config, 0xff, sizeof(pci_config));
    ports_refused = 0;
    rtc = (struct rtc){.byte = {[0] = 0x56, [2] = 0x34, [4] = 0x12, [7] = 0x28, [8] = 0x11,
                                [9] = 0x26, [10] = 0x26, [11] = 2}};
    said_len = 0;
    said[0] = '\0';
    step = 0;
    script = NULL;
    fake.idle = idle;
    fake.kernel_log = "2 cores\nready\n";
    time_init(1000000000);
    fake_object_at(BOOT_HANDLE_SYSTEM, FAKE_SYSTEM, RIGHT_ALL);
    fake_object_at(BOOT_HANDLE_SC, FAKE_SC, RIGHT_ALL)->users = 1;
    fake_object_at(BOOT_HANDLE_PORTS, FAKE_PORTS, RIGHT_USE);
    fake_object_at(BOOT_HANDLE_COM1_IRQ, FAKE_IRQ, RIGHT_ALL);
    fake_object_at(BOOT_HANDLE_COM2_IRQ, FAKE_IRQ, RIGHT_ALL);
    boot.magic = BOOT_MAGIC;
    boot.tsc_hz = 1000000000;
    boot.cores = 2;
    boot.ram = 1ull << 30;
    elf_file_make(program);
    add_module("bin:vmm", program, sizeof(program));
    add_module("bin:console", program, sizeof(program));
    // A multiboot 1 image: ELF with the header's magic, flags and checksum.
    memset(image, 0, sizeof(image));
    memcpy(image, "\177ELF\1\1\1", 7);
    const uint32_t header[] = {0x1badb002, 0, 0u - 0x1badb002};
    memcpy(image + 256, header, sizeof(header));
    return 0;
}

uint32_t run(const char *config)
{
    add_module("image:hello", image, sizeof(image));
    add_module("config:test.conf", config, strlen(config));
    uint32_t status = manager_run(&manager, &boot);
    read_line0();
    return status;
}

void play(bool (*scene)(int step), const char *config, uint32_t status)
{
    script = scene;
    assert_int_equal(run(config), status);
}

struct vcpu_stats *stats_of(uint32_t vm)
{
    uint32_t id = process_of(vm)->status.id, i = 0;
    while (i < fake.stats_count && fake.stats[i].process != id) {
        i++;
    }
    assert_in_range(i, 0, sizeof(fake.stats) / sizeof(fake.stats[0]) - 1);
    if (i == fake.stats_count) {
        fake.stats[fake.stats_count++].process = id;
    }
    return &fake.stats[i];
}

bool script_two_off(int at)
{
    if (at < 2) {
        end_vm((uint32_t)at, VMM_END_POWEROFF);
    }
    return at < 2;
}
