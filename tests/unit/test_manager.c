// SPDX-License-Identifier: BSD-2-Clause
// The manager from boot information to power-off, on the fake kernel: what it starts, what each
// process gets, how VMs end, and what a bad boot leads to.
#include "tests/unit/manager_world.h"

static void test_two_vms(void **state)
{
    (void)state;
    play(script_two_off, two_vms, 0);
    assert_null(strstr(said, "kernel: 2 cores")); // the serial line has had it
    expect("VM 'one' started: core 1, 8 MB\r\n");
    expect("VM 'two' started: core 0, 16 MB\r\n");
    expect("core 0: 10% of its time in shares, 90% left\r\n" // manager and console
           "core 1: 25% of its time in shares, 75% left\r\n");
    expect("isolation audit: 12345 frames, no frame reachable from two VMs\r\n");
    expect("VM 'one' powered off\r\n");
    expect("VM 'two' powered off\r\n");
    expect("all VMs are off: powering off\r\n");
    // Of the processes only the console is left, and no memory of the VMs'.
    assert_int_equal(fake_count(FAKE_PROCESS), 2);
    assert_int_equal(fake_count(FAKE_THREAD), 1);
}

#define WALL_SECONDS 1795869296u // 2026-11-28 12:34:56
#define NO_WALL_SECONDS 946684800u // 2000-01-01

static struct fake_object *thread_of(const struct spawned *spawned)
{
    return fake_handle(spawned->thread[0]);
}

static void check_vmm_process(void)
{
    struct fake_object *process = process_of(0);
    struct fake_object *thread = thread_of(&manager.vm[0].spawned);
    const struct start_block *block = block_of(process);
    uint32_t rights;
    const struct fake_object *sc = &fake.object[thread->sc];
    assert_int_equal(sc->core, 1);
    assert_int_equal(sc->share, 250);
    assert_int_equal(sc->period, 10000);
    assert_false(sc->soft);
    assert_int_equal(thread->entry, 0x400200);
    assert_int_equal(thread->argument, START_VA);
    sc = &fake.object[thread_of(&manager.vm[1].spawned)->sc];
    assert_int_equal(sc->share, 0);
    assert_int_equal(sc->users, 1); // of its own
    assert_int_equal(block->magic, START_MAGIC);
    assert_int_equal(block->role, START_VMM);
    assert_int_equal(block->wall_seconds, WALL_SECONDS);
    assert_int_equal(block->wall_tsc, manager.wall_tsc);
    assert_string_equal(block->vmm.name, "one");
    assert_string_equal(block->vmm.cmdline, "a b");
    assert_string_equal(block->vmm.image_name, "hello");
    assert_int_equal(block->vmm.memory, 8 << 20);
    assert_int_equal(block->vmm.image_bytes, IMAGE_BYTES);
    assert_int_equal(block->vmm.initrd, 0);
    // Handles: a module can only be read, the own event used and waited for, the console's
    // signalled.
    assert_int_equal(fake_slot(process, block->vmm.image, &rights)->type, FAKE_MEMORY);
    assert_int_equal(rights, RIGHT_READ);
    assert_int_equal(block->vmm.modules, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct start_module *module = &block->vmm.module[i];
        assert_int_equal(fake_slot(process, module->file, &rights)->type, FAKE_MEMORY);
        assert_int_equal(rights, RIGHT_READ);
        assert_int_equal(module->bytes, IMAGE_BYTES);
        assert_string_equal(block->vmm.module_text + module->name, "hello");
        assert_string_equal(block->vmm.module_text + module->cmdline, i == 0 ? "c  d" : "");
    }
    assert_ptr_equal(fake_slot(process, block->vmm.event, &rights),
                     fake_handle(manager.vm[0].event));
    assert_int_equal(rights, RIGHT_USE | RIGHT_WAIT);
    assert_ptr_equal(fake_slot(process, block->vmm.console.event, &rights),
                     fake_handle(manager.console_event));
    assert_int_equal(rights, RIGHT_USE);
    assert_int_equal(block->vmm.console.bits, 2);
    // It may say that its own line has text, nothing else, and makes no processes.
    assert_int_equal(process->slot[block->vmm.console.event - 2].withheld, ~2ull);
    assert_int_equal(process->slot[block->vmm.event - 2].withheld, 0);
    // And that its guest has halted for good.
    assert_ptr_equal(fake_slot(process, block->vmm.manager, &rights), fake_handle(manager.event));
    assert_int_equal(rights, RIGHT_USE);
    assert_int_equal(block->vmm.manager_bit, 1);
    assert_int_equal(process->slot[block->vmm.manager - 2].withheld, ~1ull);
    assert_int_equal(process->counts.processes, 0);
    assert_int_equal(process->counts.contexts, 0);
    assert_int_equal(process->counts.vms, 1);
    // The program: shared text, data of its own.
    const struct fake_mapping *text = fake_mapped(process, 0x400000);
    const struct fake_mapping *data = fake_mapped(process, 0x402010);
    assert_int_equal(text->prot, PROT_READ | PROT_EXEC);
    assert_memory_equal(fake.object[text->memory].view + 0x200, "code", 4);
    assert_memory_equal(fake.object[data->memory].view + 0x10, "data", 4);
    assert_int_equal(fake.object[data->memory].view[0x40], 0);
    assert_int_equal(text->memory, fake_mapped(process_of(1), 0x400000)->memory);
    assert_int_not_equal(data->memory, fake_mapped(process_of(1), 0x402010)->memory);
    assert_null(fake_mapped(process, START_STACK_TOP - START_STACK_SIZE - 1));
    assert_non_null(fake_mapped(process, START_STACK_TOP - 1));
}

static void check_console_process(void)
{
    struct fake_object *process = fake_handle(manager.console.process);
    const struct start_block *block = block_of(process);
    struct fake_object *irq = fake_handle(BOOT_HANDLE_COM1_IRQ);
    uint32_t rights;
    assert_int_equal(block->role, START_CONSOLE);
    assert_int_equal(block->console.lines, 3);
    assert_string_equal(block->console.line[0].name, "bulkhead");
    assert_string_equal(block->console.line[1].name, "one");
    assert_string_equal(block->console.line[2].name, "two");
    assert_ptr_equal(fake_slot(process, block->console.line[2].event, &rights),
                     fake_handle(manager.vm[1].event));
    assert_int_equal(block->console.line[2].bits, VMM_BIT_CONSOLE);
    assert_int_equal(process->slot[block->console.line[2].event - 2].withheld, ~VMM_BIT_CONSOLE);
    assert_int_equal(process->slot[block->console.line[0].event - 2].withheld,
                     ~(MANAGER_BIT_LINE | CONSOLE_BIT_FLUSHED));
    assert_ptr_equal(fake_slot(process, block->console.line[2].memory, &rights),
                     fake_handle(manager.vm[1].line));
    assert_int_equal(process->port_first, 0x3f8);
    assert_int_equal(process->port_count, 8);
    assert_int_equal(irq->bits, CONSOLE_BIT_IRQ);
    // With the manager itself on a context that the config can set.
    const struct fake_object *sc = &fake.object[thread_of(&manager.console)->sc];
    assert_ptr_equal(sc, fake_handle(manager.sc));
    assert_int_equal(sc->core, 0);
    assert_int_equal(sc->share, 100);
    assert_int_equal(sc->period, 1000);
    assert_true(sc->soft);
    assert_int_equal(sc->users, 2);
}

static bool script_inspect(int at)
{
    if (at == 0) {
        check_vmm_process();
        check_console_process();
    }
    return script_two_off(at);
}

// VM two halts for good, then one does, which is killed at last; two's power-off is no more than a
// way out of here.
static bool script_halted(int at)
{
    switch (at) {
    case 0: // a VMM that says so although its guest runs
        stats_of(0)->halted = 0;
        fake_signal(fake_handle(manager.event), 1);
        return true;
    case 1: // one of which now this vCPU has halted and now that
        stats_of(1)->halted = 1;
        fake.stats_move = true;
        fake_signal(fake_handle(manager.event), 2);
        return true;
    case 2:
        fake.stats_move = false;
        assert_null(strstr(said, "has halted for good"));
        fake_signal(fake_handle(manager.event), 2);
        return true;
    case 3: // said once
        fake_signal(fake_handle(manager.event), 2);
        return true;
    case 4:
        assert_null(strstr(said, "no VM can go on"));
        type("vm stop two\rvm list\rstats\r");
        return true;
    case 5:
        stats_of(0)->halted = 1;
        fake_signal(fake_handle(manager.event), 1);
        return true;
    case 6:
        return script_two_off(0);
    default:
        return script_two_off(at - 6);
    }
}

static void test_halted_for_good(void **state)
{
    (void)state;
    play(script_halted, two_vms, 0);
    const char text[] = "VM 'two' has halted for good (HLT with interrupts off)\r\n";
    expect(text);
    assert_null(strstr(strstr(said, text) + 1, text));
    expect("VM 'two' has halted for good, and hears nothing: vm kill ends it\r\n");
    expect("two             halted      0");
    expect("one             running     1");
    expect("  it is in HLT with interrupts off, for good\r\n");
    expect("VM 'one' has halted for good");
    expect("no VM can go on: each that is left has halted for good\r\n");
}

static void test_what_processes_get(void **state)
{
    (void)state;
    play(script_inspect, two_vms, 0);
}

static bool script_deaths(int at)
{
    struct fake_object *process = at < 2 ? process_of((uint32_t)at) : NULL;
    if (at == 0) {
        fake.kernel_log = "process 7: page fault\n";
        process->status.rip = 0x401234;
        process->status.address = 0xdead000;
        fake_process_end(process, PROCESS_FAULT, 14);
    } else if (at == 1) {
        end_vm(1, VMM_END_KILLED);
    }
    return at < 2;
}

static void test_killed(void **state)
{
    (void)state;
    play(script_deaths, two_vms, 1);
    expect("kernel: process 7: page fault\r\nVM 'one' killed");
    expect("VM 'one' killed: its VMM caused exception 14 at rip 0x401234, address 0xdead000");
    expect("VM 'two' killed: the reason is on its console\r\n");
    expect("powering off, status 1\r\n");
}

static bool script_one_off(int at)
{
    if (at == 0) {
        end_vm(0, VMM_END_POWEROFF);
    }
    return at < 1;
}

static void test_bad_vm_is_skipped(void **state)
{
    (void)state;
    script = script_one_off;
    assert_int_equal(run("[vm bad]\nimage = nowhere\nmemroy = 3\n[vm good]\nimage = hello\n"), 0);
    expect("test.conf:3:1: unknown key 'memroy' in [vm bad] (did you mean 'memory'?)\r\n");
    expect("test.conf:2:9: image 'nowhere' not found among the boot modules\r\n");
    expect("VM 'good' started");
    assert_int_equal(manager.vms, 1);
}

static void test_nothing_to_run(void **state)
{
    (void)state;
    assert_int_equal(run(""), 1);
    expect("no VM could be started\r\n");
    assert_int_equal(fake_count(FAKE_PROCESS), 2); // the console has it to say
}

static void test_no_config(void **state)
{
    (void)state;
    assert_int_equal(manager_run(&manager, &boot), 1);
    read_line0();
    expect("there is no config file among the boot modules");
}

static void test_no_console(void **state)
{
    (void)state;
    // Without a console what is said goes to the kernel's log.
    strcpy(boot.module[1].name, "bin:other");
    play(script_two_off, two_vms, 0);
    assert_non_null(strstr(fake.log, "bin:console cannot be loaded: there is no such boot module"));
}

// What the boot information says of the CPU's faults, in words, before all else.
static void test_faults(void **state)
{
    (void)state;
    boot.faults = (struct cpu_faults){ .there = 1u << FAULT_mds | 1u << FAULT_bhi | 1u << FAULT_v1,
                                       .open = 1u << FAULT_mds, .asked = 1u << FAULT_v1 };
    play(script_two_off, two_vms, 0);
    static const char *const lines[] = {
        "boot: 1 faults of this CPU are not mitigated: see the log\n",
        "boot: Meltdown (meltdown): not affected\n",
        "boot: MDS (mds): NOT mitigated: no MD_CLEAR: a guest may sample ",
        "boot: Spectre v1 (v1): mitigated: indices of calls and handles are masked; asked for\n",
        "boot: branch history injection (bhi): mitigated: BHI_DIS_S\n",
    };
    const char *at = fake.log;
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        at = strstr(at, lines[i]);
        assert_non_null(at);
    }
    boot.faults.retpolines = 1;
    fake.log_len = 0;
    faults_list(&boot.faults);
    assert_non_null(strstr(fake.log, "(bhi): mitigated: retpolines\n"));
}

static void test_broken_vmm(void **state)
{
    (void)state;
    fake_handle(boot.module[0].handle)->view[1] = 'x';
    assert_int_equal(run(two_vms), 1);
    expect("bin:vmm cannot be loaded: it is no 64-bit little-endian ELF file\r\n");
    expect("no VM could be started");
}

static void test_audit_fails(void **state)
{
    (void)state;
    fake.audit = ERR_STATE;
    play(script_two_off, two_vms, 0);
    expect("ISOLATION AUDIT FAILED");
    expect("VM 'two' powered off");
}

// log = debug begins with a measurement; without the boot module, nothing is traced.
static void test_debug(void **state)
{
    (void)state;
    static char config[512];
    script = script_two_off;
    snprintf(config, sizeof(config), "[system]\nlog = debug\n%s", two_vms);
    assert_int_equal(run(config), 0);
    expect("path=syscall rounds=10000 min=");
    assert_null(strstr(said, "trace syscall"));
}

// An editor's copy beside the config, which GRUB finds first.
static void test_two_configs(void **state)
{
    (void)state;
    struct boot_module *copy = &boot.module[boot.modules++];
    strcpy(copy->name, "config:aaa.conf~");
    play(script_two_off, two_vms, 0);
    expect("the config is test.conf; 1 other file in /boot/bulkhead/config: not read\r\n");
}

static void drop_message(void *ctx, const struct config_diag *diag)
{
    (void)ctx;
    (void)diag;
}

// The rule is the checker's: what the machine is built with decides, and what is left of it by
// accident does not.
static void test_memory_rule(void **state)
{
    static char config[256];
    (void)state;
    boot.ram = (64 << 20) - 700 * 1024;
    boot.cores = 2;
    script = script_two_off;
    snprintf(config, sizeof(config), "%s[vm three]\nimage = hello\nmemory = 64M\n", two_vms);
    const struct config_machine machine = {64 << 20, 2, config_file_bytes(IMAGE_BYTES) + 4096};
    uint64_t all = config_memory_for_vms(&machine);
    assert_int_equal(run(config), 0);
    char expected[80];
    snprintf(expected, sizeof(expected), "memory = 64M is more than there is: %lluM\r\n",
             (unsigned long long)all >> 20);
    expect(expected);
    assert_int_equal(manager.vm_memory, all);
    assert_null(strstr(said, "less than such a machine"));
}

// Where the firmware keeps more, what there is counts.
static void test_memory_short(void **state)
{
    (void)state;
    boot.ram = 2ull << 30; // and the fake kernel has half of it
    play(script_two_off, two_vms, 0);
    expect(" KB less than such a machine's ");
    assert_in_range(manager.vm_memory, (1 << 30) - (5 << 20), (1 << 30) - (4 << 20));
}

// What was handed to the kernel: each word must be known.
static void test_options(void **state)
{
    (void)state;
    script = script_two_off;
    snprintf(boot.options, sizeof(boot.options), "assume=mds,nothing,v2  trace turbo assume= "
             "panic=off panic=reset panic without=exit-port apicv=off without=posted ");
    assert_int_equal(run(two_vms), 0);
    expect("kernel option assume=: there is no 'nothing'; there are all meltdown l1tf");
    expect("kernel option 'turbo' is not known, and does nothing; known are assume=NAME");
    expect("kernel option 'assume=' is not known");
    expect("kernel option 'panic' is not known, and does nothing; known are assume=NAME,..., "
           "without=pcid, without=x2apic, without=tsc-deadline, without=sysenter, "
           "apicv=off, without=posted, trace, many-objects, without=exit-port, panic=off, "
           "panic=reset\r\n");
    assert_null(strstr(said, "'mds'"));
    assert_null(strstr(said, "'v2'"));
    assert_null(strstr(said, "'trace'"));
    assert_null(strstr(said, "'panic=off'"));
    assert_null(strstr(said, "'panic=reset'"));
    assert_null(strstr(said, "'without=exit-port'"));
    assert_null(strstr(said, "'apicv=off'"));
    assert_null(strstr(said, "''"));
    assert_true(option_given(&boot, "trace"));
    assert_false(option_given(&boot, "turb"));
}

static void test_date(void **state)
{
    (void)state;
    rtc.updating = 1000;
    play(script_two_off, two_vms, 0);
    assert_int_equal(rtc.updating, 0);
    assert_int_equal(ports_refused, 0);
    assert_int_equal(fake.object[1].port_count, 0);
    assert_int_equal(manager.wall_seconds, WALL_SECONDS);
    assert_null(strstr(said, "2000-01-01"));
}

// Nobody answers.
static void test_date_unknown(void **state)
{
    (void)state;
    rtc.absent = true;
    play(script_two_off, two_vms, 0);
    assert_int_equal(manager.wall_seconds, NO_WALL_SECONDS);
    expect("no clock of this machine tells the date: it is taken to be 2000-01-01\r\n");
}

// The firmware says that there is none: then its ports are left alone.
static void test_date_denied(void **state)
{
    (void)state;
    rtc.index = 77;
    boot.no_rtc = 1;
    play(script_two_off, two_vms, 0);
    assert_int_equal(rtc.index, 77);
    assert_int_equal(manager.wall_seconds, NO_WALL_SECONDS);
    expect("it is taken to be 2000-01-01\r\n");
}

// 60 VMs are one more than there are lines.
static void test_too_many(void **state)
{
    (void)state;
    static char config[8192];
    uint32_t len = 0;
    for (int i = 0; i < 60; i++) {
        len += (uint32_t)snprintf(config + len, sizeof(config) - len,
                                  "[vm v%d]\nimage = hello\n", i);
    }
    const struct config_sink sink = {.report = drop_message};
    config_parse(&manager.config, "many.conf", config, len, &sink);
    manager.boot = &boot;
    assert_int_equal(report_init(&manager), OK);
    const struct config_host host = {.max_vms = CONFIG_RUN_MAX};
    assert_int_equal(config_check(&manager.config, &host, &sink), 1);
    assert_int_equal(vms_prepare(&manager), OK);
    assert_int_equal(manager.vms, MANAGER_VMS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_two_vms), TEST(test_what_processes_get), TEST(test_halted_for_good),
        TEST(test_killed),
        TEST(test_bad_vm_is_skipped), TEST(test_nothing_to_run), TEST(test_no_config),
        TEST(test_no_console), TEST(test_broken_vmm), TEST(test_audit_fails), TEST(test_debug),
        TEST(test_too_many), TEST(test_options), TEST(test_two_configs), TEST(test_faults),
        TEST(test_memory_rule), TEST(test_memory_short), TEST(test_date),
        TEST(test_date_unknown), TEST(test_date_denied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
